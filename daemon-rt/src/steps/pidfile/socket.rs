//! The path of the control socket, beside the pidfile.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys::retry;
use crate::sys::safe_open::SafePath;
use crate::sys::stat::lstat;

/// The ending that the control socket's name adds to that of the pidfile.
pub(crate) const CONTROL: &str = ".control";
/// The ending while an instance is about to replace another one.
pub(crate) const NEW_CONTROL: &str = ".control.new";
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(1);

/// Returns the path of a pidfile with this ending.
pub(crate) fn beside(pidfile: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(pidfile);
    path.push(ending);
    path.into()
}

/// Connects to the control socket of any service.
pub(super) fn connect_to_service(pidfile: &Path, patience: Duration) -> Option<OwnedFd> {
    connect_at(&beside(pidfile, CONTROL), patience).ok()?.ok()
}

/// Checks whether there is a file at the path of the control socket.
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
        // Without a limit, one that never accepts would keep the caller waiting for ever. Zero means
        // no limit.
        let left = patience
            .saturating_sub(began.elapsed())
            .max(Duration::from_millis(1));
        let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        setsockopt(
            &connection,
            sockopt::SendTimeout,
            &TimeVal::milliseconds(left),
        )?;
        let connected = at_place(&place, path, |address| {
            retry(|| connect(connection.as_raw_fd(), address))
        })?;
        match connected {
            // It can come before the time is over.
            Err(Errno::EAGAIN) if began.elapsed() < patience => std::thread::sleep(PAUSE),
            connected => return Ok(connected.map(|()| connection)),
        }
    }
}

/// Binds or connects at a path of any length. An address has room for 107 bytes, so the path leads
/// through the open directory. That needs /proc; without it the path itself has to fit.
pub(crate) fn at_place(
    place: &SafePath,
    path: &Path,
    call: impl Fn(&UnixAddr) -> nix::Result<()>,
) -> io::Result<nix::Result<()>> {
    let through_directory = place.by_descriptor();
    let name = path.file_name().unwrap_or_default().len();
    if let Ok(address) = UnixAddr::new(&through_directory) {
        match call(&address) {
            // There is no such file, or no /proc.
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
            "the name of the control socket is too long: {name} bytes"
        ))),
        Err(_) => Ok(Err(Errno::ENOENT)),
    }
}
