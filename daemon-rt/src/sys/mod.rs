//! The only directory with `unsafe`: the operations that neither std nor nix has as safe functions,
//! one a block. It also has the few helpers that every room needs.
#![allow(unsafe_code)]

use nix::errno::Errno;

#[cfg(target_os = "linux")]
#[forbid(unsafe_code)]
mod acl;
#[cfg(target_os = "linux")]
mod capability;
mod descriptors;
mod environment;
mod ids;
#[forbid(unsafe_code)]
pub(crate) mod kept;
#[forbid(unsafe_code)]
pub(crate) mod proc;
mod process;
#[forbid(unsafe_code)]
pub(crate) mod safe_open;
mod signals;

#[cfg(target_os = "linux")]
pub(crate) use capability::Capabilities;
pub(crate) use descriptors::*;
pub(crate) use environment::*;
pub(crate) use ids::*;
pub(crate) use process::*;
pub(crate) use signals::*;

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
