//! The control socket's place, beside the pidfile.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::stat::lstat;
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys::retry;
use crate::sys::safe_open::SafePath;

/// What the names of the control socket add to that of the pidfile.
pub(crate) const CONTROL: &str = ".control";
/// The same of an instance that is about to replace another one.
pub(crate) const NEW_CONTROL: &str = ".control.new";
/// How long to wait before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// The path beside a pidfile that has this ending.
pub(crate) fn beside(pidfile: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(pidfile);
    path.push(ending);
    path.into()
}

/// Connects to the control socket of a service, whoever that is.
pub(super) fn connect_to_service(pidfile: &Path, patience: Duration) -> Option<OwnedFd> {
    connect_at(&beside(pidfile, CONTROL), patience).ok()?.ok()
}

/// Whether there is something at the path of the control socket.
pub(super) fn exists(pidfile: &Path) -> bool {
    lstat(&beside(pidfile, CONTROL)).is_ok()
}

/// Connects to a control socket, and waits for at most `patience` until it is accepted.
pub(crate) fn connect_at(path: &Path, patience: Duration) -> io::Result<nix::Result<OwnedFd>> {
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
        let limit = i64::try_from(patience.saturating_sub(began.elapsed()).as_millis())
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
pub(crate) fn at_place(
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
