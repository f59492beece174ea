//! Calls of the running instance on its control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};

use super::message::no_answer;
use crate::control::instance::Instance;
use crate::steps::pidfile::socket::{CONTROL, NEW_CONTROL, beside, connect_at};

/// Outcome of a call.
pub(super) enum Call {
    /// The instance, at this path.
    Answered(OwnedFd, PathBuf),
    /// No process yet: the instance will when it is ready.
    NotYet,
    /// Another process.
    Another,
    NoSocket,
}

/// Calls the instance, also at the path where its socket is until a restart is over.
pub(super) fn call(pidfile: &Path, instance: &Instance, patience: Duration) -> io::Result<Call> {
    match call_at(beside(pidfile, CONTROL), instance, patience)? {
        answered @ Call::Answered(..) => Ok(answered),
        other => match call_at(beside(pidfile, NEW_CONTROL), instance, patience)? {
            answered @ Call::Answered(..) => Ok(answered),
            _ => Ok(other),
        },
    }
}

/// Connects to a control socket, and makes sure that it is the instance's.
fn call_at(path: PathBuf, instance: &Instance, patience: Duration) -> io::Result<Call> {
    let connection = match connect_at(&path, patience)? {
        Ok(connection) => connection,
        Err(Errno::EAGAIN) => return Err(no_answer()),
        Err(Errno::ECONNREFUSED) => return Ok(Call::NotYet),
        Err(Errno::ENOENT | Errno::EPROTOTYPE) => return Ok(Call::NoSocket),
        Err(error) => return Err(error.into()),
    };
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    if peer.pid() == instance.pid.as_raw() {
        Ok(Call::Answered(connection, path))
    } else {
        Ok(Call::Another)
    }
}
