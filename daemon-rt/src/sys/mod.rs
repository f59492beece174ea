//! The only directory with `unsafe`: the operations that neither std nor nix has as safe functions,
//! one a block. It also has the few helpers that every room needs.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[cfg(target_os = "linux")]
#[forbid(unsafe_code)]
mod acl;
mod borrow;
#[cfg(target_os = "linux")]
mod capability;
mod descriptors;
mod environment;
#[cfg(target_os = "linux")]
mod futex;
mod ids;
mod inherited;
#[forbid(unsafe_code)]
pub(crate) mod kept;
#[forbid(unsafe_code)]
pub(crate) mod proc;
mod process;
#[forbid(unsafe_code)]
pub(crate) mod safe_open;
mod signals;
pub(crate) mod stat;

pub(crate) use borrow::borrow_raw;
#[cfg(target_os = "linux")]
pub(crate) use capability::Capabilities;
pub(crate) use descriptors::*;
pub(crate) use environment::*;
#[cfg(target_os = "linux")]
pub(crate) use futex::{futex_wait, futex_wake};
pub(crate) use ids::*;
pub(crate) use inherited::*;
pub(crate) use process::*;
pub(crate) use signals::*;

/// The right of a start to change what belongs to the whole process: its environment, and the
/// descriptors that it inherited.
pub(crate) enum Start {
    OfMain(StartOfMain),
    Late(Late),
}

/// The promise that `Daemon::run` asks of its caller: it is called first in `main`. So no code in
/// this process owns a descriptor above 2 yet, relies on the memory of the environment, or runs
/// beside this thread.
pub(crate) struct StartOfMain(());

impl StartOfMain {
    /// Believes the promise.
    ///
    /// # Safety
    /// It has to be true.
    pub(crate) unsafe fn promised() -> Self {
        Self(())
    }

    /// Runs the rest of a process that was forked off, which ends with the status that this returns
    /// and so never returns to the code that owns what is open.
    pub(crate) fn ending_here(run: impl FnOnce(&Self) -> u8) -> ! {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                exit_now(1)
            }
        }
        // A panic ends it, too.
        let _end = End;
        exit_now(run(&Self(())))
    }
}

/// The proof that no code runs beside this thread in a program that has run for a while. Strings of
/// the environment may be overwritten by then, as by setenv(3); of the descriptors those that were
/// noted before `main` are inherited.
pub(crate) struct Late(());

impl Late {
    pub(crate) fn new(_alone: &SingleThreaded) -> Self {
        Self(())
    }
}

/// Repeats a call for as long as signals interrupt it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Waits until a descriptor can be read or written, but no longer than `patience`, and returns the
/// rest of that. A signal may end the wait early.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, event: PollFlags, patience: Duration) -> Duration {
    let began = Instant::now();
    let limit = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    _ = poll(&mut [PollFd::new(fd, event)], limit);
    // At least a millisecond less, so that who tries again comes to an end whatever poll(2) returns.
    patience.saturating_sub(began.elapsed().max(Duration::from_millis(1)))
}
