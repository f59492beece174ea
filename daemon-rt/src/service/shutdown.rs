//! The termination request, and what becomes of a service that did not ask for it.

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use crate::control::handover;
use crate::report;
use crate::service::reload;
use crate::service::selfpipe::SelfPipe;
use crate::steps::pidfile;
use crate::sys::{self, Previous};

/// What ends a process that does not handle it, and is not a fault of the process.
const ENDING: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];
/// What asks for an orderly end.
const REQUESTS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

static SHUTDOWN: OnceLock<Shutdown> = OnceLock::new();
/// Who handled them before, in the same order.
static PREVIOUS: [Previous; 2] = [Previous::none(), Previous::none()];

/// The request to terminate, see [`shutdown`].
#[derive(Debug)]
pub struct Shutdown {
    /// Pending from the first request on, and never taken.
    pipe: SelfPipe,
}

/// The request to terminate: SIGTERM, as a manager or an administrator sends it, or SIGINT, as
/// Ctrl-C does.
///
/// The first call installs the handlers of these two signals; until then they end the process at
/// once. It is process-wide, so that any part of the service may ask, at any time and as often as
/// it likes. The first time that the service sees the request, its manager is told `STOPPING=1`. A
/// child that the service forks without executing another program does not take part: these signals
/// end it.
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
/// The call alone does not wait. A service that has to hear a request while it still initializes
/// installs the handlers in `init`, and waits later:
///
/// ```no_run
/// # fn bind() -> std::io::Result<()> {
/// _ = daemon_rt::shutdown();
/// # Ok(())
/// # }
/// ```
///
/// # Beside other handlers of signals
///
/// A signal has one handler in a process. The handlers of this function and of
/// [`reloads`](crate::reloads()) call the one that they have replaced, and those of signal-hook do
/// the same. So parts of a service that use different libraries hear the same signals, each once:
///
/// | the service listens by | before `shutdown()` or `reloads()` | after it | without it |
/// | --- | --- | --- | --- |
/// | `tokio::signal` (`unix::signal`, `ctrl_c`) | both hear | both hear | it hears |
/// | `signal_hook` (flag, iterator, pipe) | both hear | both hear | it hears |
/// | `ctrlc` (SIGINT; with its feature `termination` SIGTERM and SIGHUP, too) | both hear | **`ctrlc` alone hears** | it hears |
/// | sigaction(2), in C for instance | both hear | it alone, unless it calls the handler that it has replaced | it hears |
///
/// It makes no difference whether the service is detached or in the foreground, and whether it has
/// a pidfile. What replaces a handler without calling it has to come first: call
/// `ctrlc::set_handler` before `shutdown()`, or leave `ctrlc` out and wait for `shutdown()` in a
/// thread. `ctrlc::try_set_handler` fails if there is a handler, and with a pidfile there is one
/// from the start.
///
/// Where the service handles a signal itself, without `shutdown()`, the signal does not end it, and
/// its pidfile is removed when the process exits: by returning from `main`, or by
/// [`std::process::exit`]. What ends it otherwise, such as `signal_hook::low_level::exit` or
/// `signal_hook::flag::register_conditional_shutdown`, leaves the pidfile behind, with its lock
/// free. A part of the service that waits for a signal which every thread blocks, by sigwait(3) or
/// signalfd(2), takes it away from every handler.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
#[must_use = "it does not wait by itself: use `wait()`, `.await` or `requested()`; `_ = shutdown();` installs the handlers"]
pub fn shutdown() -> &'static Shutdown {
    static HANDLED: OnceLock<()> = OnceLock::new();
    let shutdown = SHUTDOWN.get_or_init(|| {
        let pipe = SelfPipe::new().expect("cannot make the pipe of the termination request");
        Shutdown { pipe }
    });
    HANDLED.get_or_init(|| {
        for (signal, previous) in REQUESTS.into_iter().zip(&PREVIOUS) {
            sys::chain_handler(signal as libc::c_int, end, tidy_up, previous)
                .expect("these signals can be handled");
        }
    });
    shutdown
}

/// In the daemon: what `configure` has asked for in the starter is for this process.
#[inline]
pub(crate) fn adopt_requests() {
    if let Some(shutdown) = SHUTDOWN.get() {
        shutdown.pipe.adopt();
    }
    reload::adopt_requests();
}

/// Has the pidfile removed by the signals that end this process, as long as nobody in it handles
/// them. What `configure` has handled is left alone.
pub(crate) fn tidy_up_when_ended() -> nix::Result<()> {
    let mut left = ENDING
        .into_iter()
        .map(|signal| signal as libc::c_int)
        .filter(|&signal| sys::is_default(signal));
    left.try_for_each(|signal| sys::handle(signal, tidy_up))
}

/// Whether this signal, if it is not blocked, would end this process.
pub(crate) fn ends_by(signal: libc::c_int) -> bool {
    sys::is_default(signal) || sys::is_handled_by(signal, tidy_up)
}

/// Ends this process as the signal does that nobody handles. Only what signal-safety(7) allows is
/// called here.
pub(crate) fn die_of(signal: libc::c_int) {
    pidfile::remove();
    sys::die_of(signal);
}

/// The handler where nobody has asked for the signal: only what signal-safety(7) allows.
///
/// Who replaces it may call it all the same, as signal-hook does with every handler that it finds
/// (and tokio with it). The signal is then that one's, who decides whether the process ends, and
/// the pidfile goes at exit.
pub(crate) extern "C" fn tidy_up(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let is_last = sys::is_handled_by(signal, tidy_up);
    // Somebody who has put back the handlers that were there before may have taken away those that
    // note the requests.
    let noted = note(signal) || is_last && reload::note(signal);
    if is_last && !noted {
        die_of(signal);
    }
    Errno::set_raw(errno);
}

/// The handler of [`shutdown`]: only what signal-safety(7) allows.
extern "C" fn end(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    let noted = note(signal);
    let other = REQUESTS
        .into_iter()
        .zip(&PREVIOUS)
        .find(|(request, _)| *request as libc::c_int == signal);
    let called = other.is_some_and(|(_, previous)| previous.call(signal, info, context));
    // A child that the service has forked ends, as it would have without these handlers.
    if !noted && !called && sys::is_handled_by_siginfo(signal, end) {
        die_of(signal);
    }
    Errno::set_raw(errno);
}

/// Notes the request to terminate, if this is one; `false` if nobody in this process has asked for
/// it.
pub(crate) fn note(signal: libc::c_int) -> bool {
    let Some(shutdown) = SHUTDOWN.get() else {
        return false;
    };
    if !REQUESTS
        .iter()
        .any(|&request| request as libc::c_int == signal)
    {
        return false;
    }
    shutdown.pipe.wake()
}

impl Shutdown {
    /// Whether termination has been requested.
    pub fn requested(&self) -> bool {
        let requested = self.pipe.is_pending();
        if requested {
            report::stopping();
        }
        requested
    }

    /// Whether a successor has taken the service over in a restart, or is about to: then what
    /// belongs to the service, and not to this process, is the successor's now. A service that
    /// makes a Unix socket itself, and hands it over, removes its path only where this is `false`;
    /// sockets by [`listen`](crate::listen()) need nothing.
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
        handover::is_replaced()
    }

    /// Waits until termination is requested.
    pub fn wait(&self) {
        while !self.requested() {
            self.pipe.wait(None);
        }
    }

    /// Waits until termination is requested, at most for `limit`; `true` if it has been requested.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let deadline = Instant::now().checked_add(limit);
        while !self.requested() {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            self.pipe.wait(deadline);
        }
        true
    }
}

/// Readable once termination has been requested, and from then on: for poll(2) loops. Do not read
/// from it, and do not close it: a service that closes every descriptor, those of libraries too,
/// asks [`Shutdown::requested`] instead.
impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Readable once termination has been requested, and from then on: for poll(2) loops. Do not read
/// from it.
impl AsRawFd for Shutdown {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Complete once termination has been requested. It works in every runtime: while tasks wait, a
/// thread waits for them.
impl Future for &'static Shutdown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shutdown = *self;
        if shutdown.requested() {
            return Poll::Ready(());
        }
        // If it is requested just now, the thread that waits for it ends at once.
        shutdown.pipe.register(context);
        Poll::Pending
    }
}
