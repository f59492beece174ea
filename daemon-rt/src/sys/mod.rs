//! The only directory with `unsafe`: what neither std nor nix offers as a safe function, one
//! operation a block. Above these calls stand the few helpers that every room needs.
#![allow(unsafe_code)]

use nix::errno::Errno;

#[cfg(target_os = "linux")]
mod acl;
#[cfg(target_os = "linux")]
mod capability;
mod descriptors;
mod environment;
mod ids;
pub(crate) mod kept;
pub(crate) mod proc;
mod process;
pub(crate) mod safe_open;
mod signals;

#[cfg(target_os = "linux")]
pub(crate) use capability::Capabilities;
pub(crate) use descriptors::*;
pub(crate) use environment::*;
pub(crate) use ids::*;
pub(crate) use process::*;
pub(crate) use signals::*;

/// The promise that [`Daemon::run`] asks of its caller: this is the first thing that `main` does,
/// so that nothing in this process yet owns a descriptor above 2, relies on the environment's
/// memory, or runs beside this thread.
pub(crate) struct StartOfMain(());

impl StartOfMain {
    /// # Safety
    /// The promise has to be true.
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
