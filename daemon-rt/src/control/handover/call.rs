//! Calling the running instance on its control socket.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::stat::lstat;
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{left, no_answer};
use super::{CONTROL, NEW_CONTROL, PAUSE, beside};
use crate::control::instance::Instance;
use crate::sys::retry;
use crate::sys::safe_open::SafePath;

/// Who answers on the control socket.
pub(super) enum Call {
    /// The instance, at this path.
    Answered(OwnedFd, PathBuf),
    /// The instance will, when it is ready.
    NotYet,
    /// Another process.
    Another,
    Nobody,
}

/// Calls the instance, also where its socket is after a restart that is not quite over.
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
        Err(Errno::ENOENT | Errno::EPROTOTYPE) => return Ok(Call::Nobody),
        Err(error) => return Err(error.into()),
    };
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok(if peer.pid() == instance.pid.as_raw() {
        Call::Answered(connection, path)
    } else {
        Call::Another
    })
}

/// Connects to the control socket of a service, whoever that is.
pub(crate) fn connect_to_service(pidfile: &Path, patience: Duration) -> Option<OwnedFd> {
    connect_at(&beside(pidfile, CONTROL), patience).ok()?.ok()
}

/// Whether there is something at the path of the control socket.
pub(crate) fn has_socket(pidfile: &Path) -> bool {
    lstat(&beside(pidfile, CONTROL)).is_ok()
}

fn connect_at(path: &Path, patience: Duration) -> io::Result<nix::Result<OwnedFd>> {
    let place = SafePath::of(path)?;
    let connection = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let began = Instant::now();
    loop {
        // One that accepts nobody would keep the caller waiting for ever, which is also what no
        // time at all would mean.
        let limit = i64::try_from(left(began, patience).as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        setsockopt(
            &connection,
            sockopt::SendTimeout,
            &TimeVal::milliseconds(limit),
        )?;
        match at_place(&place, path, |address| {
            retry(|| connect(connection.as_raw_fd(), address))
        })? {
            // Only when the time is over does it mean that it is.
            Err(Errno::EAGAIN) if began.elapsed() < patience => std::thread::sleep(PAUSE),
            connected => return Ok(connected.map(|()| connection)),
        }
    }
}

/// Binds or connects at a path of any length: through the directory, which is open, as sockets have
/// room for 107 bytes. That needs /proc; without it the path must do.
pub(super) fn at_place(
    place: &SafePath,
    path: &Path,
    call: impl Fn(&UnixAddr) -> nix::Result<()>,
) -> io::Result<nix::Result<()>> {
    let through_directory = place.by_descriptor();
    let name = path.file_name().unwrap_or_default().len();
    if let Ok(address) = UnixAddr::new(&through_directory) {
        match call(&address) {
            // There is no file, or no /proc.
            Err(Errno::ENOENT) => {}
            result => return Ok(result),
        }
    }
    match UnixAddr::new(path) {
        Ok(address) => Ok(call(&address)),
        Err(_) if !Path::new("/proc/self/fd").exists() => Err(io::Error::other(
            "without /proc the path of the control socket must be shorter than 108 bytes",
        )),
        Err(_) if UnixAddr::new(&through_directory).is_err() => Err(io::Error::other(format!(
            "the name of the control socket is too long, it has {name} bytes"
        ))),
        Err(_) => Ok(Err(Errno::ENOENT)),
    }
}
