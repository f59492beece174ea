//! The request to terminate.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use super::end;
use super::tasks::Tasks;
use crate::status;
use crate::sys;

static REQUEST: Mutex<Request> = Mutex::new(Request {
    made: false,
    tasks: Tasks::new(),
});
static SEEN: OnceLock<Instant> = OnceLock::new();
static MADE: Condvar = Condvar::new();
/// How long the service may take to end.
static LIMIT: OnceLock<Duration> = OnceLock::new();

struct Request {
    made: bool,
    /// The tasks that wait for it.
    tasks: Tasks,
}

/// The request to terminate, see [`shutdown`].
#[derive(Debug)]
pub struct Shutdown(());

/// The request to terminate: on Windows Ctrl-C, Ctrl-Break, or the end of the console, the session or
/// the system. Until the first call these end the process at once. On other systems it is never
/// made.
#[must_use = "it does not wait by itself: use `wait()`, `.await` or `requested()`; `_ = shutdown();` installs the handler"]
pub fn shutdown() -> &'static Shutdown {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| sys::handle_console_events(request_shutdown));
    &Shutdown(())
}

/// Limits the time from the request to the end of the service.
pub(super) fn limit(limit: Option<Duration>) {
    if let Some(limit) = limit {
        _ = LIMIT.set(limit);
    }
}

fn end_after(limit: Duration) -> ! {
    thread::sleep(limit);
    let words = format!("it did not end within {limit:?}, and ends now");
    end::with_last_words(status::NOT_ENDED, Some(&words))
}

fn request_shutdown() {
    let mut request = request();
    if let (Some(limit), false) = (LIMIT.get(), request.made) {
        // Without a thread there is no limit.
        _ = thread::Builder::new().spawn(|| end_after(*limit));
    }
    request.made = true;
    seen();
    MADE.notify_all();
    let tasks = request.tasks.take();
    drop(request);
    tasks.wake();
}

fn request() -> MutexGuard<'static, Request> {
    REQUEST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the request was made; now, if it was not.
pub(super) fn seen() -> Instant {
    *SEEN.get_or_init(Instant::now)
}

impl Shutdown {
    /// Requests termination, as the system does: the service wants to end by itself.
    pub fn request(&self) {
        request_shutdown();
    }

    /// Returns whether termination has been requested.
    pub fn requested(&self) -> bool {
        request().made
    }

    /// Returns whether a successor has taken the service over: no system but Unix has one.
    pub fn replaced(&self) -> bool {
        false
    }

    /// Waits until termination is requested.
    pub fn wait(&self) {
        let wait = MADE.wait_while(request(), |request| !request.made);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until termination is requested, but at most for `limit`. Returns whether it has been
    /// requested.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let wait = MADE.wait_timeout_while(request(), limit, |request| !request.made);
        let (request, _) = wait.unwrap_or_else(PoisonError::into_inner);
        request.made
    }
}

/// Complete when termination is requested.
impl Future for &'static Shutdown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut request = request();
        if request.made {
            return Poll::Ready(());
        }
        let forgotten = request.tasks.add(context.waker());
        drop(request);
        forgotten.wake();
        Poll::Pending
    }
}
