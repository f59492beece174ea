//! The request to reload: SIGHUP, or a caller on the control socket.

use std::error::Error;
use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::libc;
#[cfg(target_os = "linux")]
use nix::sys::signal::{SigSet, Signal, raise};

use super::end;
use super::requests::{self, RELOAD};
use super::selfpipe::SelfPipe;
use crate::error;
use crate::report::notify::notifier;
use crate::report::pipe::LONGEST_FAILURE;
use crate::report::text::cut;
use crate::report::{self, log};
use crate::steps::streams;
use crate::sys::{self, Previous};

/// The handler that SIGHUP had before.
static PREVIOUS: Previous = Previous::none();
static CALLERS: Mutex<Callers> = Mutex::new(Callers {
    asked: 0,
    waiting: Vec::new(),
});

/// The callers that wait for a reload.
struct Callers {
    /// How many have asked so far. A caller is known by its number.
    asked: u64,
    waiting: Vec<(u64, Answer)>,
}

/// Called when the reload that meets a caller's request has ended, with the reason if it failed.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// The requests to reload, see [`reloads`].
#[derive(Debug)]
#[must_use = "a request waits until it is taken: use `for`, `wait`, `next` or `stream`"]
pub struct Reloads(&'static SelfPipe);

/// [`Reloads`] as a `futures_core::Stream`, see [`Reloads::stream`].
#[cfg(feature = "stream")]
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReloadStream(Reloads);

/// A request to reload, and the reload itself: hold it while the service reads its configuration
/// again.
///
/// While it is held, the manager sees the service reloading (`RELOADING=1` … `READY=1`). Dropping
/// it reports that the service has reloaded, even if the task that holds it is cancelled. If the
/// reload failed, call [`failed`](Self::failed). A panic of the thread that holds it counts as a
/// failure, too; see [`reloads`] for later requests then.
///
/// # Logs
///
/// Before the service gets the request, the log files are opened again by their paths, so that they
/// can be rotated by renaming them:
///
/// - those that the settings `stdout` and `stderr` name;
/// - in the foreground those that the manager or a shell has opened to append to (`append:` of
///   systemd.exec(5), `exec >>log` in a run script), if they have been renamed or removed. Their
///   names at the start of the service are read from /proc. A new file gets the mode of the old
///   one.
///
/// The service's user needs the permission to open them: if it cannot create files in the
/// directory, have logrotate(8) create them (`create 0640 USER`). Root opens them only if no other
/// user can write to the directory. If a log cannot be opened, or is outside the service's chroot,
/// the service goes on with the old file, and a line in it says so. A log that is copied and
/// truncated in place (`copytruncate`) needs nothing.
#[must_use = "dropping it reports that the service has reloaded"]
pub struct Reload {
    /// The number of the last caller whose request it meets.
    asked: u64,
    failure: Option<ReloadError>,
}

struct ReloadError {
    text: String,
    errno: Option<i32>,
}

/// The requests to reload: SIGHUP, or `reload` through the control socket. Requests that come
/// during a reload become one request.
///
/// Call it in `init`: the first call installs the handler of SIGHUP. Until then SIGHUP ends the
/// process, and a reload over the control socket is refused. The setting
/// [`reloads`](crate::Daemon::reloads) has `unit` print files that say so.
///
/// In a thread, iterate. The iterator waits for each request, and never ends.
///
/// ```no_run
/// # fn read_configuration() -> std::io::Result<()> { Ok(()) }
/// fn init() -> std::io::Result<()> {
///     let reloads = daemon_rt::reloads();
///     std::thread::spawn(|| {
///         for reload in reloads {
///             if let Err(error) = read_configuration() {
///                 reload.failed(error);
///             }
///         }
///     });
///     Ok(())
/// }
/// ```
///
/// In a task of any asynchronous runtime, use [`Reloads::next`] or, with the feature `stream`,
/// [`Reloads::stream`]. `init` can return what `main` gives to the task:
///
/// ```no_run
/// # async fn read_configuration() -> std::io::Result<()> { Ok(()) }
/// async fn follow(mut reloads: daemon_rt::Reloads) {
///     while let Some(reload) = reloads.next().await {
///         if let Err(error) = read_configuration().await {
///             reload.failed(error);
///         }
///     }
/// }
/// ```
///
/// A handler of SIGHUP that was installed before is called as well: [`shutdown`](crate::shutdown()) has a table of other
/// libraries. A request over the control socket reaches their handlers, too, as the signal would.
///
/// The requests have to be taken as long as the service runs. After a panic of the only thread or
/// task that takes them, a later request waits: SIGHUP has no effect, and a caller of the control
/// socket times out. Have such a panic end the service (`panic = "abort"`), or call `reloads`
/// again.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
pub fn reloads() -> Reloads {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    // First, so that the handler finds it.
    let pipe = RELOAD
        .get_or_init(|| SelfPipe::new().expect("cannot make the pipe of the requests to reload"));
    INSTALLED.get_or_init(|| {
        sys::chain_handler(libc::SIGHUP, on_signal, end::on_signal, &PREVIOUS)
            .expect("SIGHUP can be handled");
    });
    Reloads(pipe)
}

/// The handler. Calls only what signal-safety(7) allows.
extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let errno = Errno::last_raw();
    let noted = requests::note(signal);
    let called = PREVIOUS.call(signal, info, context);
    if !noted && !called && sys::is_handled_by_siginfo(signal, on_signal) {
        end::die_of(signal);
    }
    Errno::set_raw(errno);
}

/// Requests a reload for a caller who waits for `answer`, and returns the caller's number; `None`
/// if the service takes no such requests. It must be called in a thread that blocks SIGHUP.
#[cfg(target_os = "linux")]
pub(crate) fn ask(answer: Answer) -> Option<u64> {
    let pipe = RELOAD.get()?;
    let mut callers = callers();
    callers.asked += 1;
    let number = callers.asked;
    callers.waiting.push((number, answer));
    drop(callers);
    request_as_by_signal(pipe);
    Some(number)
}

/// Makes a request that reaches every part of the program that a SIGHUP would reach.
///
/// If another part has a handler, too, this thread sends itself the signal: it is handled before
/// raise(3) returns, and cannot merge with another SIGHUP. A handler that has replaced this
/// library's may not call it; then the request is made directly.
#[cfg(target_os = "linux")]
fn request_as_by_signal(pipe: &SelfPipe) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let before = pipe.wakes();
    let is_own = sys::is_handled_by_siginfo(libc::SIGHUP, on_signal);
    if sys::is_handled(libc::SIGHUP) && (!is_own || PREVIOUS.is_handler()) {
        let hangup = SigSet::from(Signal::SIGHUP);
        if hangup.thread_unblock().is_ok() {
            _ = raise(Signal::SIGHUP);
            _ = hangup.thread_block();
        }
    }
    if pipe.wakes() == before {
        pipe.wake();
    }
}

/// Forgets a caller, who no longer waits.
#[cfg(target_os = "linux")]
pub(crate) fn forget(caller: u64) {
    callers().waiting.retain(|(number, _)| *number != caller);
}

fn callers() -> MutexGuard<'static, Callers> {
    CALLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the callers whose requests are met: those up to number `last`.
fn answer(last: u64, result: Result<(), &str>) {
    let mut callers = callers();
    let (met, later): (Vec<_>, Vec<_>) = mem::take(&mut callers.waiting)
        .into_iter()
        .partition(|(number, _)| *number <= last);
    callers.waiting = later;
    // An answer may take a moment.
    drop(callers);
    for (_, answer) in met {
        answer(result);
    }
}

impl Reloads {
    /// Waits for the next request, and blocks this thread.
    ///
    /// ```no_run
    /// let mut reloads = daemon_rt::reloads();
    /// loop {
    ///     let reload = reloads.wait();
    ///     // … read the configuration
    ///     drop(reload);
    /// }
    /// ```
    pub fn wait(&mut self) -> Reload {
        loop {
            self.0.wait(None);
            if let Some(reload) = self.begin() {
                return reload;
            }
        }
    }

    /// Waits for the next request, in a task of any asynchronous runtime: while tasks wait, a
    /// thread waits for them. Never returns `None`. No request is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Reload> {
        Some(std::future::poll_fn(|context| self.poll(context)).await)
    }

    /// The requests as a `futures_core::Stream`, which never ends.
    ///
    /// ```no_run
    /// use std::future::poll_fn;
    /// use std::pin::pin;
    ///
    /// use futures_core::Stream;
    ///
    /// # async fn follow() {
    /// let mut requests = pin!(daemon_rt::reloads().stream());
    /// while let Some(reload) = poll_fn(|context| requests.as_mut().poll_next(context)).await {
    ///     // … read the configuration
    ///     drop(reload);
    /// }
    /// # }
    /// ```
    #[cfg(feature = "stream")]
    pub fn stream(self) -> ReloadStream {
        ReloadStream(self)
    }

    fn begin(&self) -> Option<Reload> {
        if self.0.take() {
            Some(Reload::begin())
        } else {
            None
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Reload> {
        if let Some(reload) = self.begin() {
            return Poll::Ready(reload);
        }
        self.0.register(context);
        Poll::Pending
    }
}

/// Waits for each request; never ends.
impl Iterator for Reloads {
    type Item = Reload;

    fn next(&mut self) -> Option<Reload> {
        Some(self.wait())
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for ReloadStream {
    type Item = Reload;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Reload>> {
        self.0.poll(context).map(Some)
    }
}

impl Reload {
    fn begin() -> Self {
        notifier().reloading();
        streams::reopen_logs();
        Self {
            asked: callers().asked,
            failure: None,
        }
    }

    /// Reports that the service could not reload, and goes on as before: with the old
    /// configuration, for example.
    ///
    /// The text of the error and of its sources goes to the caller of `reload`, whose exit status
    /// is 1, and to the manager (`STATUS=` and, for an error of the system, `ERRNO=`, with the
    /// `READY=1` that ends the reload). It is also written to standard error or, if that is
    /// `/dev/null`, to the system log. It is cut at 4,000 bytes.
    ///
    /// ```no_run
    /// # fn read_configuration() -> std::io::Result<()> { Ok(()) }
    /// for reload in daemon_rt::reloads() {
    ///     if let Err(error) = read_configuration() {
    ///         reload.failed(error);
    ///     }
    /// }
    /// ```
    pub fn failed(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        let error = error.into();
        let text = cut(&error::chain(&*error), LONGEST_FAILURE).into_owned();
        log::error(&format!("cannot reload: {text}"));
        self.failure = Some(ReloadError {
            text,
            errno: error::system_errno(&*error),
        });
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        if self.failure.is_none() && std::thread::panicking() {
            self.failure = Some(ReloadError {
                text: report::last_panic(),
                errno: None,
            });
        }
        let result = match &self.failure {
            None => {
                notifier().reloaded();
                Ok(())
            }
            Some(ReloadError { text, errno }) => {
                notifier().reload_failed(text, *errno);
                Err(text.as_str())
            }
        };
        answer(self.asked, result);
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}
