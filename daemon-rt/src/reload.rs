//! The request to reload: SIGHUP.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::libc;

use crate::bell::Bell;
use crate::manager::{monotonic_usec, notifier};
use crate::{pidfile, surroundings, sys};

static REQUESTS: OnceLock<Requests> = OnceLock::new();

struct Requests {
    pending: AtomicBool,
    bell: Bell,
    progress: Mutex<Progress>,
    done: Condvar,
}

/// How many reloads were asked for by someone who waits, and how many of them are done.
#[derive(Default)]
struct Progress {
    asked: u64,
    done: u64,
}

/// The requests to reload, see [`reloads`].
#[derive(Debug)]
pub struct Reloads(());

/// One request to reload: the service reads its configuration anew while it holds it.
///
/// Before the service gets it, the log files that `stdout` and `stderr` name have been opened anew, so that they can
/// be rotated. From then until it is dropped the manager sees the service reloading (`RELOADING=1` … `READY=1`).
pub struct Reload {
    /// The requests of someone who waits that it meets.
    asked: u64,
}

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
        Requests { pending: false.into(), bell, progress: Mutex::default(), done: Condvar::new() }
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

/// Requests a reload and waits until it is done; `false` if the service takes no such requests.
pub(crate) fn reload_and_wait() -> bool {
    let Some(requests) = REQUESTS.get() else { return false };
    let mut progress = requests.progress();
    progress.asked += 1;
    let mine = progress.asked;
    requests.pending.store(true, Ordering::Release);
    requests.bell.ring();
    while progress.done < mine {
        progress = requests.done.wait(progress).unwrap_or_else(PoisonError::into_inner);
    }
    true
}

fn requests() -> &'static Requests {
    REQUESTS.get().expect("it is set before there is a `Reloads`")
}

impl Requests {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        Self { asked: requests().progress().asked }
    }
}

impl Drop for Reload {
    fn drop(&mut self) {
        requests().progress().done = self.asked;
        requests().done.notify_all();
        notifier().send("READY=1");
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}
