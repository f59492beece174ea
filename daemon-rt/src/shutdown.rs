//! The termination request, and what becomes of a service that did not ask for it.

use std::future::Future;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use crate::bell::Bell;
use crate::{audience, pidfile, sys};

/// What ends a process that does not handle it, and is not a fault of the process.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
/// What asks for an orderly end.
const REQUESTS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

static SHUTDOWN: OnceLock<Shutdown> = OnceLock::new();

/// The request to terminate, see [`shutdown`].
#[derive(Debug)]
pub struct Shutdown {
    requested: AtomicBool,
    /// Rings at the first request, and is never reset.
    bell: Bell,
}

/// The request to terminate: SIGTERM, as a manager or an administrator sends it, or SIGINT, as Ctrl-C does.
///
/// The first call installs the handlers of these two signals; until then they end the process at once. It is
/// process-wide, so that any part of the service may ask, at any time and as often as it likes. The first time that
/// the service sees the request, its manager is told `STOPPING=1`.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
pub fn shutdown() -> &'static Shutdown {
    static HANDLED: OnceLock<()> = OnceLock::new();
    let shutdown = SHUTDOWN.get_or_init(|| {
        let bell = Bell::new().expect("cannot make the pipe of the termination request");
        Shutdown { requested: false.into(), bell }
    });
    HANDLED.get_or_init(|| {
        for signal in REQUESTS {
            sys::handle(signal as libc::c_int, end).expect("these signals can be handled");
        }
    });
    shutdown
}

/// Has the pidfile removed by the signals that end this process, as long as it has not asked for [`shutdown`]. What
/// `configure` has handled is left alone.
pub(crate) fn tidy_up_when_ended() -> nix::Result<()> {
    let mut left = ENDING.into_iter().map(|signal| signal as libc::c_int).filter(|&signal| sys::is_default(signal));
    left.try_for_each(|signal| sys::handle(signal, end))
}

/// Whether this signal, if it is not blocked, would end this process.
pub(crate) fn ends_by(signal: libc::c_int) -> bool {
    sys::is_default(signal) || sys::is_handled_by(signal, end)
}

/// The handler: only what signal-safety(7) allows.
extern "C" fn end(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let asked = SHUTDOWN.get().filter(|_| REQUESTS.iter().any(|&request| request as libc::c_int == signal));
    if let Some(shutdown) = asked {
        shutdown.requested.store(true, Ordering::Release);
    }
    if !asked.is_some_and(|shutdown| shutdown.bell.ring()) {
        pidfile::remove();
        sys::die_of(signal);
    }
    Errno::set_raw(errno);
}

impl Shutdown {
    /// Whether termination has been requested.
    pub fn requested(&self) -> bool {
        let requested = self.requested.load(Ordering::Acquire);
        if requested {
            audience::stopping();
        }
        requested
    }

    /// Waits until termination is requested.
    pub fn wait(&self) {
        while !self.requested() {
            self.bell.wait(None);
        }
    }

    /// Waits until termination is requested, at most for `limit`; `true` if it has been requested.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        let deadline = Instant::now().checked_add(limit);
        while !self.requested() {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return false;
            }
            self.bell.wait(deadline);
        }
        true
    }
}

/// Readable once termination has been requested, and from then on: for poll(2) loops. Do not read from it.
impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Readable once termination has been requested, and from then on: for poll(2) loops. Do not read from it.
impl AsRawFd for Shutdown {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Complete once termination has been requested. It works in every runtime: while tasks wait, a thread waits for them.
impl Future for &'static Shutdown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shutdown = *self;
        if shutdown.requested() {
            return Poll::Ready(());
        }
        // If it is requested just now, the bell that this waits for has already rung.
        shutdown.bell.wake(context);
        Poll::Pending
    }
}
