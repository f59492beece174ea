//! The requests that signals make, from when the service has asked for them.

use std::sync::OnceLock;

use nix::libc;

use super::selfpipe::SelfPipe;

/// The request to terminate: SIGTERM or SIGINT.
pub(super) static SHUTDOWN: OnceLock<SelfPipe> = OnceLock::new();
/// The request to reload: SIGHUP, or a caller on the control socket.
pub(super) static RELOAD: OnceLock<SelfPipe> = OnceLock::new();

/// Notes the request that a signal makes; `false` if this process has not asked for it. Calls only
/// what signal-safety(7) allows.
pub(crate) fn note(signal: libc::c_int) -> bool {
    let request = match signal {
        libc::SIGTERM | libc::SIGINT => SHUTDOWN.get(),
        libc::SIGHUP => RELOAD.get(),
        _ => None,
    };
    match request {
        Some(pipe) => pipe.wake(),
        None => false,
    }
}

/// In the daemon: what `configure` has asked for in the starter is for this process.
#[inline]
pub(crate) fn adopt() {
    for request in [&SHUTDOWN, &RELOAD] {
        if let Some(pipe) = request.get() {
            pipe.adopt();
        }
    }
}
