//! The request to terminate.

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;

use super::end;
use super::limit;
use super::listen;
use super::requests::{self, SHUTDOWN};
use super::selfpipe::SelfPipe;
use crate::report;
use crate::steps::pidfile;
use crate::sys::{self, Previous};

/// The signals that request termination, and the handlers that they had before.
static HANDLED: [(libc::c_int, Previous); 2] = [
    (libc::SIGTERM, Previous::none()),
    (libc::SIGINT, Previous::none()),
];

static SEEN: OnceLock<Instant> = OnceLock::new();

/// The request to terminate, see [`shutdown`].
#[derive(Debug)]
pub struct Shutdown(&'static SelfPipe);

/// The request to terminate: SIGTERM, as a manager or an administrator sends it, or SIGINT, as
/// Ctrl-C does.
///
/// The first call installs the handlers of these two signals; until then they end the process at
/// once. The service itself can make the request, by [`Shutdown::request`], and `stop_timeout` limits
/// the time that it takes to end. The request is process-wide: any part of the service can ask for it, at any time and as
/// often as it likes. When the service sees the request for the first time, its manager is told
/// `STOPPING=1`. These signals still end a child that the service forks without executing another
/// program.
///
/// ```no_run
/// // In a thread:
/// daemon_rt::shutdown().wait();
/// # async fn task() {
/// // In a task of any asynchronous runtime:
/// daemon_rt::shutdown().await;
/// # }
/// ```
///
/// The call alone does not wait. To catch a request during initialization, install the handlers in
/// `init`, and wait later:
///
/// ```no_run
/// # fn bind() -> std::io::Result<()> {
/// _ = daemon_rt::shutdown();
/// # Ok(())
/// # }
/// ```
///
/// # Other signal handlers
///
/// A signal has one handler in a process. The handlers of this function and of
/// [`reloads`](crate::reloads()) call the one that they have replaced, and those of signal-hook do
/// the same. So parts of a service that use different libraries hear the same signals, each once:
///
/// | the service listens with | before `shutdown()` or `reloads()` | after it | without it |
/// | --- | --- | --- | --- |
/// | `tokio::signal` (`unix::signal`, `ctrl_c`) | both hear | both hear | it hears |
/// | `signal_hook` (flag, iterator, pipe) | both hear | both hear | it hears |
/// | `ctrlc` (SIGINT; with its feature `termination` SIGTERM and SIGHUP, too) | both hear | **`ctrlc` alone hears** | it hears |
/// | sigaction(2), in C for instance | both hear | it alone, unless it calls the handler that it has replaced | it hears |
///
/// It is the same for a detached service and in the foreground, with a pidfile and without one. A
/// library that replaces a handler without calling it has to come first: call `ctrlc::set_handler`
/// before `shutdown()`, or leave `ctrlc` out and wait for `shutdown()` in a thread.
/// `ctrlc::try_set_handler` fails if there is a handler, and with a pidfile there is one from the
/// start.
///
/// If the service handles a signal itself, without `shutdown()`, the signal does not end it, and
/// its pidfile is removed when the process exits: by returning from `main`, or by
/// [`std::process::exit`]. Other ways to exit, such as `signal_hook::low_level::exit` and
/// `signal_hook::flag::register_conditional_shutdown`, leave the pidfile behind, with its lock
/// free. If every thread blocks a signal, and a part of the service waits for it by sigwait(3) or
/// signalfd(2), no handler is called.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
#[must_use = "it does not wait by itself: use `wait()`, `.await` or `requested()`; `_ = shutdown();` installs the handlers"]
pub fn shutdown() -> &'static Shutdown {
    static HANDLE: OnceLock<Shutdown> = OnceLock::new();
    // First, so that the handlers find it.
    let pipe = SHUTDOWN
        .get_or_init(|| SelfPipe::new().expect("cannot make the pipe of the request to terminate"));
    HANDLE.get_or_init(|| {
        for (signal, previous) in &HANDLED {
            sys::chain_handler(*signal, on_signal, end::on_signal, previous)
                .expect("these signals can be handled");
        }
        limit::watch();
        Shutdown(pipe)
    })
}

/// The handler. Calls only what signal-safety(7) allows.
extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let errno = Errno::last_raw();
    let noted = requests::note(signal);
    let called = HANDLED
        .iter()
        .any(|(handled, previous)| *handled == signal && previous.call(signal, info, context));
    // A child that the service has forked ends, as it would have without this handler.
    if !noted && !called && sys::is_handled_by_siginfo(signal, on_signal) {
        end::die_of(signal);
    }
    Errno::set_raw(errno);
}

/// When a part of the service first saw the request; now, if none has.
pub(super) fn seen() -> Instant {
    *SEEN.get_or_init(Instant::now)
}

impl Shutdown {
    /// Requests termination, as SIGTERM does: the service wants to end by itself. Parts of it that
    /// listen for that signal with another library hear it, too.
    ///
    /// ```no_run
    /// # fn last_client_has_gone() -> bool { true }
    /// use daemon_rt::shutdown;
    ///
    /// if last_client_has_gone() {
    ///     shutdown().request();
    /// }
    /// ```
    pub fn request(&self) {
        self.0.wake();
        // A program may have taken the handlers away since.
        if !sys::is_default(libc::SIGTERM) {
            _ = kill(getpid(), Signal::SIGTERM);
        }
    }

    /// Returns whether termination has been requested.
    ///
    /// ```
    /// use daemon_rt::shutdown;
    ///
    /// while !shutdown().requested() {
    ///     // … a piece of work
    /// #   break;
    /// }
    /// ```
    pub fn requested(&self) -> bool {
        let requested = self.0.is_pending();
        if requested {
            // From now on a service that closes its sockets is not to be connected to.
            listen::drop_copies();
            seen();
            report::stopping();
        }
        requested
    }

    /// Returns whether a successor has taken the service over in a restart, or is about to. Then
    /// whatever belongs to the service, and not to this process, is the successor's: a service that
    /// makes a Unix socket itself, and hands it over, removes its path only if this is `false`.
    /// Sockets from [`listen`](crate::listen()) need nothing.
    ///
    /// ```no_run
    /// use daemon_rt::shutdown;
    ///
    /// shutdown().wait();
    /// if !shutdown().replaced() {
    ///     _ = std::fs::remove_file("/run/example/admin.sock");
    /// }
    /// ```
    pub fn replaced(&self) -> bool {
        pidfile::is_replaced()
    }

    /// Waits until termination is requested.
    ///
    /// ```no_run
    /// use daemon_rt::shutdown;
    ///
    /// // … other threads serve
    /// shutdown().wait();
    /// println!("good-bye");
    /// ```
    pub fn wait(&self) {
        while !self.requested() {
            self.0.wait(None);
        }
    }

    /// Waits until termination is requested, but at most for `limit`. Returns whether it has been
    /// requested.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use daemon_rt::shutdown;
    ///
    /// while !shutdown().wait_timeout(Duration::from_millis(10)) {
    ///     // … what is to be done now and then
    /// #   break;
    /// }
    /// ```
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let deadline = Instant::now().checked_add(limit);
        while !self.requested() {
            if let Some(deadline) = deadline {
                if deadline <= Instant::now() {
                    return false;
                }
            }
            self.0.wait(deadline);
        }
        true
    }
}

/// A descriptor for poll(2) loops: readable from the request on. Do not read from it, and do not
/// close it. A service that closes every descriptor, those of libraries too, asks
/// [`Shutdown::requested`] instead.
impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The descriptor of the [`AsFd`] implementation.
impl AsRawFd for Shutdown {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Complete when termination is requested. Works in every runtime: while tasks wait, a thread waits
/// for them.
impl Future for &'static Shutdown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shutdown = *self;
        if shutdown.requested() {
            return Poll::Ready(());
        }
        // If it is requested just now, the thread that waits for it ends at once.
        shutdown.0.register(context);
        Poll::Pending
    }
}
