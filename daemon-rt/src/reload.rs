//! The request to reload: SIGHUP.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;

use crate::bell::Bell;
use crate::manager::{monotonic_usec, notifier};
use crate::{pidfile, surroundings, sys};

static REQUESTS: OnceLock<Requests> = OnceLock::new();

struct Requests {
    pending: AtomicBool,
    bell: Bell,
}

/// The requests to reload, see [`reloads`].
#[derive(Debug)]
pub struct Reloads(());

/// One request to reload: the service reads its configuration anew while it holds it.
///
/// Before the service gets it, the log files that `stdout` and `stderr` name have been opened anew, so that they can
/// be rotated. From then until it is dropped the manager sees the service reloading (`RELOADING=1` … `READY=1`).
pub struct Reload(());

/// The requests to reload, that is SIGHUP: an iterator that waits for each, and with the feature `stream` a
/// `futures_core::Stream`. Requests that come while one is being handled are one.
///
/// The first call installs the handler; until then SIGHUP ends the process.
///
/// # Panics
///
/// If the process has no descriptor left for the pipe that makes the request visible to poll(2).
pub fn reloads() -> Reloads {
    static HANDLED: OnceLock<()> = OnceLock::new();
    REQUESTS.get_or_init(|| {
        let bell = Bell::new().expect("cannot make the pipe of the requests to reload");
        Requests { pending: false.into(), bell }
    });
    HANDLED.get_or_init(|| sys::handle(libc::SIGHUP, request).expect("SIGHUP can be handled"));
    Reloads(())
}

/// The handler: only what signal-safety(7) allows.
extern "C" fn request(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let requests = REQUESTS.get();
    if let Some(requests) = requests {
        requests.pending.store(true, Ordering::Release);
    }
    if !requests.is_some_and(|requests| requests.bell.ring()) {
        pidfile::remove();
        sys::die_of(signal);
    }
    Errno::set_raw(errno);
}

fn requests() -> &'static Requests {
    REQUESTS.get().expect("it is set before there is a `Reloads`")
}

impl Requests {
    fn take(&self) -> Option<Reload> {
        self.bell.reset();
        self.pending.swap(false, Ordering::AcqRel).then(Reload::begin)
    }
}

impl Iterator for Reloads {
    type Item = Reload;

    /// Waits for the next request; there is no last one.
    fn next(&mut self) -> Option<Reload> {
        loop {
            requests().bell.wait(None);
            if let Some(reload) = requests().take() {
                return Some(reload);
            }
        }
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Reloads {
    type Item = Reload;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Reload>> {
        let requests = requests();
        if let Some(reload) = requests.take() {
            return std::task::Poll::Ready(Some(reload));
        }
        requests.bell.wake(context);
        std::task::Poll::Pending
    }
}

impl Reload {
    fn begin() -> Self {
        if let Ok(now) = monotonic_usec() {
            notifier().send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
        surroundings::reopen_logs();
        Self(())
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        notifier().send("READY=1");
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}
