//! Opening a socket that was not passed.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use nix::sys::socket::{Backlog, listen};
use nix::sys::stat::SFlag;

use super::address::Address;
use super::kind::Kind;
use super::local_addr::LocalAddr;
use crate::sys;
use crate::sys::safe_open::{SafePath, file_type};

/// The types of the standard library that [`listen`](crate::listen) returns: [`TcpListener`],
/// [`UdpSocket`], [`UnixListener`] and [`UnixDatagram`]. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a socket of the standard library",
    label = "expected `TcpListener`, `UdpSocket`, `UnixListener` or `UnixDatagram` of std",
    note = "for tokio: take the socket of std, call `set_nonblocking(true)`, and pass it to `from_std` in the runtime"
)]
pub trait Listen: AsFd + From<OwnedFd> + Open {}

impl Listen for TcpListener {}
impl Listen for UdpSocket {}
impl Listen for UnixListener {}
impl Listen for UnixDatagram {}

/// Cannot be named outside of this crate, and seals [`Listen`].
pub trait Open: Sized {
    const KIND: Kind;

    /// Resolves an address. A host can have several, of which one is used.
    fn resolve(address: &Address) -> io::Result<Vec<LocalAddr>>;

    fn open(addresses: &[LocalAddr]) -> io::Result<Self>;
}

impl Open for TcpListener {
    const KIND: Kind = Kind::TCP_LISTENER;

    fn resolve(address: &Address) -> io::Result<Vec<LocalAddr>> {
        resolve_ip(address)
    }

    fn open(addresses: &[LocalAddr]) -> io::Result<Self> {
        // With SO_REUSEADDR: connections of an instance that has ended do not keep the address.
        let listener = Self::bind(&*ip_addresses(addresses))?;
        // std lets 128 connections wait. If more clients come back in the moment of a restart, the kernel
        // drops their calls, and they try again a second later. (For Unix sockets std asks for as many.)
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        listen(&listener, Backlog::MAXALLOWABLE)?;
        Ok(listener)
    }
}

impl Open for UdpSocket {
    const KIND: Kind = Kind::UDP;

    fn resolve(address: &Address) -> io::Result<Vec<LocalAddr>> {
        resolve_ip(address)
    }

    fn open(addresses: &[LocalAddr]) -> io::Result<Self> {
        Self::bind(&*ip_addresses(addresses))
    }
}

impl Open for UnixListener {
    const KIND: Kind = Kind::UNIX_LISTENER;

    fn resolve(address: &Address) -> io::Result<Vec<LocalAddr>> {
        Ok(vec![address.unix()?])
    }

    fn open(addresses: &[LocalAddr]) -> io::Result<Self> {
        open_unix(addresses, SockType::Stream, Self::bind_addr)
    }
}

impl Open for UnixDatagram {
    const KIND: Kind = Kind::UNIX_DATAGRAM;

    fn resolve(address: &Address) -> io::Result<Vec<LocalAddr>> {
        Ok(vec![address.unix()?])
    }

    fn open(addresses: &[LocalAddr]) -> io::Result<Self> {
        open_unix(addresses, SockType::Datagram, Self::bind_addr)
    }
}

fn resolve_ip(address: &Address) -> io::Result<Vec<LocalAddr>> {
    Ok(address.resolve()?.into_iter().map(LocalAddr::Ip).collect())
}

fn ip_addresses(addresses: &[LocalAddr]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in addresses {
        if let LocalAddr::Ip(address) = address {
            found.push(*address);
        }
    }
    found
}

fn open_unix<T>(
    addresses: &[LocalAddr],
    socket_type: SockType,
    bind: fn(&UnixSocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match addresses {
        #[cfg(target_os = "linux")]
        [LocalAddr::Abstract(name)] => bind(&UnixSocketAddr::from_abstract_name(name)?),
        [LocalAddr::Path(path)] => {
            let address = UnixSocketAddr::from_pathname(path)?;
            bind_at(path, socket_type, || bind(&address))
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Binds a Unix socket to a path, and replaces the socket file of an instance that has ended.
fn bind_at<T>(
    path: &Path,
    socket_type: SockType,
    bind: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    // Between bind(2) and listen(2) the socket of another start looks abandoned.
    let _turn = take_turn(path);
    match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_abandoned(path, socket_type, &error)?;
            bind()
        }
        result => result,
    }
}

/// Has the starts that bind in one directory do so one after the other, by a lock on the directory.
/// If another program holds that lock, this waits only for a second.
fn take_turn(path: &Path) -> Option<File> {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(5);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = File::open(directory).ok()?;
    let began = Instant::now();
    while sys::try_lock(directory.as_fd()) == Err(Errno::EWOULDBLOCK) && began.elapsed() < PATIENCE
    {
        std::thread::sleep(PAUSE);
    }
    Some(directory)
}

fn remove_abandoned(path: &Path, socket_type: SockType, in_use: &io::Error) -> io::Result<()> {
    let in_use_by =
        |problem: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{in_use}: {problem}"));
    let found = crate::sys::stat::lstat(path)?;
    if file_type(&found) != SFlag::S_IFSOCK {
        return Err(in_use_by("the file there is not a socket"));
    }
    if !is_abandoned(path, socket_type)? {
        return Err(in_use_by("another process listens there"));
    }
    // Root does not remove by a path that another user can change.
    let place = match SafePath::of(&std::path::absolute(path)?) {
        Ok(place) => place,
        Err(error) => {
            let problem = format!("cannot replace the abandoned socket there: {error}");
            return Err(in_use_by(&problem));
        }
    };
    if place.still_is(&found)? {
        place.remove()?;
    }
    Ok(())
}

/// Whether no process has this socket any more: a connection is refused.
fn is_abandoned(path: &Path, socket_type: SockType) -> io::Result<bool> {
    let probe = socket(AddressFamily::Unix, socket_type, SockFlag::empty(), None)?;
    fcntl(&probe, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&probe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        // EPROTOTYPE: a socket of another type, which is in use.
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS | Errno::EPROTOTYPE) => Ok(false),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
