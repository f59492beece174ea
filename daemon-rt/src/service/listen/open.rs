//! Opening a socket that was not passed.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::SFlag;

use super::address::{Address, Local};
use super::kind::Kind;
use crate::sys;
use crate::sys::safe_open::{SafePath, file_type};

/// The types of the standard library that [`listen`](crate::listen) returns: [`TcpListener`],
/// [`UdpSocket`], [`UnixListener`] and [`UnixDatagram`]. Others cannot implement it.
#[diagnostic::on_unimplemented(
    message = "a socket of the standard library is wanted, not `{Self}`",
    label = "not `TcpListener`, `UdpSocket`, `UnixListener` or `UnixDatagram` of std",
    note = "for tokio: take the one of std, call `set_nonblocking(true)`, and give it to `from_std` in the runtime"
)]
pub trait Listen: AsFd + From<OwnedFd> + sealed::Open {}

impl Listen for TcpListener {}
impl Listen for UdpSocket {}
impl Listen for UnixListener {}
impl Listen for UnixDatagram {}

pub(super) mod sealed {
    use super::{Address, Kind, Local, io};

    pub trait Open: Sized {
        const KIND: Kind;

        /// Where this address is; a name may stand for several places, of which one is taken.
        fn places(address: &Address) -> io::Result<Vec<Local>>;

        fn open(places: &[Local]) -> io::Result<Self>;
    }
}

impl sealed::Open for TcpListener {
    const KIND: Kind = Kind::TCP_LISTENER;

    fn places(address: &Address) -> io::Result<Vec<Local>> {
        Ok(address.resolve()?.into_iter().map(Local::Ip).collect())
    }

    fn open(places: &[Local]) -> io::Result<Self> {
        // With SO_REUSEADDR, so that connections of an instance that has ended are in no one's way.
        Self::bind(&*addresses(places))
    }
}

impl sealed::Open for UdpSocket {
    const KIND: Kind = Kind::UDP;

    fn places(address: &Address) -> io::Result<Vec<Local>> {
        <TcpListener as sealed::Open>::places(address)
    }

    fn open(places: &[Local]) -> io::Result<Self> {
        Self::bind(&*addresses(places))
    }
}

impl sealed::Open for UnixListener {
    const KIND: Kind = Kind::UNIX_LISTENER;

    fn places(address: &Address) -> io::Result<Vec<Local>> {
        Ok(vec![address.unix()?])
    }

    fn open(places: &[Local]) -> io::Result<Self> {
        match places {
            #[cfg(target_os = "linux")]
            [Local::Abstract(name)] => Self::bind_addr(&abstract_address(name)?),
            [Local::Path(path)] => bind_at(path, SockType::Stream, || Self::bind(path)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl sealed::Open for UnixDatagram {
    const KIND: Kind = Kind::UNIX_DATAGRAM;

    fn places(address: &Address) -> io::Result<Vec<Local>> {
        Ok(vec![address.unix()?])
    }

    fn open(places: &[Local]) -> io::Result<Self> {
        match places {
            #[cfg(target_os = "linux")]
            [Local::Abstract(name)] => Self::bind_addr(&abstract_address(name)?),
            [Local::Path(path)] => bind_at(path, SockType::Datagram, || Self::bind(path)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

fn addresses(places: &[Local]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for place in places {
        if let Local::Ip(address) = place {
            addresses.push(*address);
        }
    }
    addresses
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    std::os::unix::net::SocketAddr::from_abstract_name(name)
}

/// Binds a Unix socket to a path. What an instance has left there that has ended is replaced.
fn bind_at<T>(path: &Path, role: SockType, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    // Between bind(2) and listen(2) the socket of another start looks abandoned.
    let _turn = take_turn(path);
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_abandoned(path, role, &error)?;
            bind()
        }
        result => result,
    }
}

/// Has the starts that bind in one directory do it one after the other. Another program's lock on
/// the directory is waited for, but not for ever.
fn take_turn(path: &Path) -> Option<File> {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(5);
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new("."))).ok()?;
    let began = Instant::now();
    while sys::try_lock(directory.as_fd()) == Err(Errno::EWOULDBLOCK) && began.elapsed() < PATIENCE
    {
        std::thread::sleep(PAUSE);
    }
    Some(directory)
}

fn remove_abandoned(path: &Path, role: SockType, in_use: &io::Error) -> io::Result<()> {
    let but =
        |problem: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{in_use}: {problem}"));
    let found = nix::sys::stat::lstat(path)?;
    if file_type(&found) != SFlag::S_IFSOCK {
        return Err(but("there is a file that is not a socket"));
    }
    if !is_abandoned(path, role)? {
        return Err(but("another process listens there"));
    }
    // Root removes nothing by a path on which another user has a hand.
    let place = SafePath::of(&std::path::absolute(path)?).map_err(|error| {
        but(&format!(
            "the abandoned socket there is not replaced: {error}"
        ))
    })?;
    if place.still_is(&found)? {
        place.remove()?;
    }
    Ok(())
}

/// A connection is refused: no process has this socket any more.
fn is_abandoned(path: &Path, role: SockType) -> io::Result<bool> {
    let probe = socket(AddressFamily::Unix, role, SockFlag::empty(), None)?;
    fcntl(&probe, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&probe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        // The last: it is a socket of another type, and live.
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS | Errno::EPROTOTYPE) => Ok(false),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
