//! The request to reload: SIGHUP, or a caller on the control socket.

use std::error::Error;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::libc;
#[cfg(target_os = "linux")]
use nix::sys::signal::{SigSet, Signal, raise};

use crate::error;
use crate::hooks::run;
use crate::report::notify::notifier;
use crate::report::pipe::{LONGEST_FAILURE, cut};
use crate::report::{self, log};
use crate::service::selfpipe::SelfPipe;
use crate::service::shutdown;
use crate::steps::streams;
use crate::sys::{self, Previous};

static REQUESTS: OnceLock<Requests> = OnceLock::new();
/// Who handled SIGHUP before.
static PREVIOUS: Previous = Previous::none();

struct Requests {
    /// How often a signal has been noted.
    signals: AtomicUsize,
    pipe: SelfPipe,
    callers: Mutex<Callers>,
}

/// Who waits for a reload.
#[derive(Default)]
struct Callers {
    /// How many have asked so far; a caller is known by its number.
    asked: u64,
    waiting: Vec<(u64, Answer)>,
}

/// What is done for a caller when the reload that meets its request has ended: well, or with this
/// reason why not.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// The requests to reload, see [`reloads`].
#[derive(Debug)]
#[must_use = "a request waits until it is taken: use `for`, `wait`, `next` or `stream`"]
pub struct Reloads(());

/// [`Reloads`] as a `futures_core::Stream`, see [`Reloads::stream`].
#[cfg(feature = "stream")]
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReloadStream(Reloads);

/// One request to reload: the service reads its configuration again while it holds it.
///
/// From then until it is dropped the manager sees the service reloading (`RELOADING=1` …
/// `READY=1`).
///
/// # Logs
///
/// Before the service gets it, the log files are opened again by their paths, so that they can be
/// rotated by renaming them:
///
/// - those that the settings `stdout` and `stderr` name;
/// - in the foreground those that the manager or a shell has opened to append to (`append:` of
///   systemd.exec(5), `exec >>log` in a run script), once they have been renamed or removed. What
///   they were called when the service was started is read from /proc. A new one gets the mode of
///   the old one.
///
/// The service's user has to be allowed to do that: where it may not make files in the directory,
/// have logrotate(8) make them (`create 0640 USER`). Root opens them only where no one else can
/// write the directory. Where a log cannot be opened, or is outside of the service's chroot, the
/// service goes on with the old file, and says so in it. A log that is copied and truncated in
/// place (`copytruncate`) needs nothing.
///
/// Dropping it says that the service has reloaded, also where the task that holds it is cancelled.
/// If that failed, call [`failed`](Self::failed); a panic of the thread that holds it counts as a
/// failure, too. See [`reloads`] for what becomes of later requests then.
#[must_use = "dropping it says that the service has reloaded"]
pub struct Reload {
    /// The number of the last caller whose request it meets.
    asked: u64,
    failure: Option<Failure>,
}

struct Failure {
    text: String,
    errno: Option<i32>,
}

/// The requests to reload: SIGHUP, or `reload` through the control socket. Requests that come while
/// one is being handled are one.
///
/// In a thread, iterate: it waits for each request, and there is no last one.
///
/// ```no_run
/// # fn read_configuration() -> std::io::Result<()> { Ok(()) }
/// std::thread::spawn(|| {
///     for reload in daemon_rt::reloads() {
///         if let Err(error) = read_configuration() {
///             reload.failed(error);
///         }
///     }
/// });
/// ```
///
/// In a task of any asynchronous runtime, use [`Reloads::next`] or, with the feature `stream`,
/// [`Reloads::stream`]:
///
/// ```no_run
/// # async fn read_configuration() -> std::io::Result<()> { Ok(()) }
/// # async fn task() {
/// let mut reloads = daemon_rt::reloads();
/// while let Some(reload) = reloads.next().await {
///     if let Err(error) = read_configuration().await {
///         reload.failed(error);
///     }
/// }
/// # }
/// ```
///
/// The first call installs the handler of SIGHUP; until then it ends the process. A handler that
/// was installed before is called as well: see [`shutdown`](crate::shutdown()) for what that means
/// for other libraries. A request over the control socket reaches these others, too, as the signal
/// would.
///
/// Whoever takes the requests has to go on doing so. After a panic of the only thread or task that
/// does, a later request waits: SIGHUP has no effect, and a caller of the control socket is told
/// that its time is up. Have such a panic end the service (`panic = "abort"`), or ask for `reloads`
/// again.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
pub fn reloads() -> Reloads {
    static HANDLED: OnceLock<()> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let pipe = SelfPipe::new().expect("cannot make the pipe of the requests to reload");
        Requests {
            signals: 0.into(),
            pipe,
            callers: Mutex::default(),
        }
    });
    HANDLED.get_or_init(|| {
        sys::chain_handler(libc::SIGHUP, request, shutdown::tidy_up, &PREVIOUS)
            .expect("SIGHUP can be handled");
    });
    Reloads(())
}

/// The handler: only what signal-safety(7) allows.
extern "C" fn request(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    let noted = note(signal);
    let called = PREVIOUS.call(signal, info, context);
    if !noted && !called && sys::is_handled_by_siginfo(signal, request) {
        shutdown::die_of(signal);
    }
    Errno::set_raw(errno);
}

/// In the daemon: what `configure` has asked for in the starter is for this process.
#[inline]
pub(crate) fn adopt_requests() {
    if let Some(requests) = REQUESTS.get() {
        requests.pipe.adopt();
    }
}

/// Notes the request that a signal makes, if it is one; `false` if nobody in this process has asked
/// for it. Only what signal-safety(7) allows is called here.
pub(crate) fn note(signal: libc::c_int) -> bool {
    let Some(requests) = REQUESTS.get() else {
        return false;
    };
    if signal != libc::SIGHUP {
        return false;
    }
    requests.signals.fetch_add(1, Ordering::AcqRel);
    requests.pipe.wake()
}

/// Requests a reload, for a caller who waits for `answer`, and returns the caller's number; `None`
/// if the service takes no such requests. It must be called in a thread that blocks SIGHUP.
#[cfg(target_os = "linux")]
pub(crate) fn ask(answer: Answer) -> Option<u64> {
    let requests = REQUESTS.get()?;
    let mut callers = requests.callers();
    callers.asked += 1;
    let number = callers.asked;
    callers.waiting.push((number, answer));
    drop(callers);
    requests.make_as_by_signal();
    Some(number)
}

/// A caller does not wait any more.
#[cfg(target_os = "linux")]
pub(crate) fn forget(caller: u64) {
    if let Some(requests) = REQUESTS.get() {
        requests
            .callers()
            .waiting
            .retain(|(number, _)| *number != caller);
    }
}

fn requests() -> &'static Requests {
    REQUESTS
        .get()
        .expect("it is set before there is a `Reloads`")
}

impl Requests {
    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request that reaches whoever a SIGHUP would reach.
    ///
    /// Where another part of the program listens, too, this thread sends itself the signal, which
    /// is handled before raise(3) returns and cannot become one with another SIGHUP. This library's
    /// handler may or may not be among those that are called then: one that has replaced it need
    /// not call it.
    #[cfg(target_os = "linux")]
    fn make_as_by_signal(&self) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock();
        let before = self.signals.load(Ordering::Acquire);
        let is_ours = sys::is_handled_by_siginfo(libc::SIGHUP, request);
        if sys::is_handled(libc::SIGHUP) && (!is_ours || PREVIOUS.is_handler()) {
            let hangup = SigSet::from(Signal::SIGHUP);
            if hangup.thread_unblock().is_ok() {
                _ = raise(Signal::SIGHUP);
                _ = hangup.thread_block();
            }
        }
        if self.signals.load(Ordering::Acquire) == before {
            self.pipe.wake();
        }
    }

    fn take(&self) -> Option<Reload> {
        self.pipe.take().then(Reload::begin)
    }

    /// Answers those whose requests are met.
    fn answer(&self, last: u64, result: Result<(), &str>) {
        // Not while it is locked: an answer may take a moment.
        let met = {
            let mut callers = self.callers();
            let (met, later) = mem::take(&mut callers.waiting)
                .into_iter()
                .partition(|(number, _)| *number <= last);
            callers.waiting = later;
            met
        };
        let met: Vec<(u64, Answer)> = met;
        for (_, answer) in met {
            answer(result);
        }
    }
}

impl Reloads {
    /// Waits for the next request, and blocks this thread meanwhile.
    pub fn wait(&mut self) -> Reload {
        loop {
            requests().pipe.wait(None);
            if let Some(reload) = requests().take() {
                return reload;
            }
        }
    }

    /// Waits for the next request, in a task of any asynchronous runtime: while tasks wait, a
    /// thread waits for them. It is never `None`. A request is not lost where the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Reload> {
        Some(std::future::poll_fn(|context| self.poll(context)).await)
    }

    /// The requests as a `futures_core::Stream`, which never ends.
    #[cfg(feature = "stream")]
    pub fn stream(self) -> ReloadStream {
        ReloadStream(self)
    }

    #[expect(
        clippy::unused_self,
        reason = "there are requests only where there is a `Reloads`"
    )]
    fn poll(&self, context: &mut Context<'_>) -> Poll<Reload> {
        let requests = requests();
        if let Some(reload) = requests.take() {
            return Poll::Ready(reload);
        }
        requests.pipe.register(context);
        Poll::Pending
    }
}

/// Waits for each request; there is no last one.
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
            asked: requests().callers().asked,
            failure: None,
        }
    }

    /// Says that the service could not reload, and goes on as it was: with the old configuration,
    /// for instance.
    ///
    /// The text of the error and of its sources goes to whoever waits: the caller of `reload`,
    /// whose exit status is 1, and the manager (`STATUS=` and, for an error of the system,
    /// `ERRNO=`, with the `READY=1` that ends the reload). It is also written to standard error or,
    /// where that is `/dev/null`, to the system log. It is cut at 4,000 bytes.
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
        log::complain(&report::name(), &format!("cannot reload: {text}"));
        self.failure = Some(Failure {
            text,
            errno: error::system_errno(&*error),
        });
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        if self.failure.is_none() && std::thread::panicking() {
            self.failure = Some(Failure {
                text: run::last_panic(),
                errno: None,
            });
        }
        match &self.failure {
            None => notifier().reloaded(),
            Some(Failure { text, errno }) => notifier().reload_failed(text, *errno),
        }
        requests().answer(
            self.asked,
            self.failure
                .as_ref()
                .map_or(Ok(()), |failure| Err(&failure.text)),
        );
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}
