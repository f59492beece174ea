//! The address to listen at, as the service gives it, and the address of a socket, as the kernel
//! gives it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, UnixAddr, getsockname,
};
use nix::sys::stat::{SFlag, lstat};

use crate::sys::safe_open::file_type;

/// An address to [`listen`](crate::listen) at.
///
/// TCP and UDP take `"127.0.0.1:80"`, `"[::]:80"`, `"localhost:80"`, a [`SocketAddr`], or an
/// [`IpAddr`] or host with a port. A Unix socket takes a path, or on Linux `"@NAME"` for an
/// abstract address, see unix(7).
#[derive(Clone, Debug)]
pub struct Address(Form);

#[derive(Clone, Debug)]
enum Form {
    Text(String),
    Host(String, u16),
    Ip(SocketAddr),
    Path(PathBuf),
}

impl Address {
    /// The addresses for TCP and UDP: a name may stand for several.
    pub(super) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = match &self.0 {
            Form::Text(text) => text.to_socket_addrs()?.collect(),
            Form::Host(host, port) => (host.as_str(), *port).to_socket_addrs()?.collect(),
            Form::Ip(address) => vec![*address],
            Form::Path(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a path is an address for Unix sockets only",
                ));
            }
        };
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the host has no address",
            ));
        }
        Ok(found)
    }

    /// The address for a Unix socket.
    pub(super) fn unix(&self) -> io::Result<LocalAddr> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Form::Text(text) if text.starts_with('@') => {
                Ok(LocalAddr::Abstract(text.as_bytes()[1..].to_vec()))
            }
            Form::Text(text) => Ok(LocalAddr::Path(text.into())),
            Form::Path(path) => Ok(LocalAddr::Path(path.clone())),
            Form::Host(..) | Form::Ip(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the address of a Unix socket is a path",
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Text(text) => f.write_str(text),
            Form::Host(host, port) => write!(f, "{host}:{port}"),
            Form::Ip(address) => write!(f, "{address}"),
            Form::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

macro_rules! from {
    ($($from:ty: $address:pat => $form:expr;)*) => {$(
        impl From<$from> for Address {
            fn from($address: $from) -> Self {
                Self($form)
            }
        }
    )*};
}

from! {
    &str: text => Form::Text(text.to_owned());
    &String: text => Form::Text(text.clone());
    String: text => Form::Text(text);
    SocketAddr: address => Form::Ip(address);
    SocketAddrV4: address => Form::Ip(address.into());
    SocketAddrV6: address => Form::Ip(address.into());
    (IpAddr, u16): address => Form::Ip(address.into());
    (Ipv4Addr, u16): address => Form::Ip(address.into());
    (Ipv6Addr, u16): address => Form::Ip(address.into());
    (&str, u16): (host, port) => Form::Host(host.to_owned(), port);
    (String, u16): (host, port) => Form::Host(host, port);
    &Path: path => Form::Path(path.to_owned());
    &PathBuf: path => Form::Path(path.clone());
    PathBuf: path => Form::Path(path);
}

/// The local address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddr {
    Ip(SocketAddr),
    Path(PathBuf),
    Abstract(Vec<u8>),
    /// A FIFO, a socket without an address or of another family.
    None,
}

impl LocalAddr {
    /// # Errors
    /// If the system does not tell the address of a socket.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> nix::Result<Self> {
        let raw = fd.as_raw_fd();
        let family = match getsockname::<SockaddrStorage>(raw) {
            Err(Errno::ENOTSOCK) => return Ok(Self::None),
            address => address?.family(),
        };
        Ok(match family {
            Some(AddressFamily::Inet) => {
                Self::Ip(SocketAddr::V4(getsockname::<SockaddrIn>(raw)?.into()))
            }
            Some(AddressFamily::Inet6) => {
                Self::Ip(SocketAddr::V6(getsockname::<SockaddrIn6>(raw)?.into()))
            }
            Some(AddressFamily::Unix) => Self::of_unix(&getsockname::<UnixAddr>(raw)?),
            _ => Self::None,
        })
    }

    fn of_unix(address: &UnixAddr) -> Self {
        if let Some(path) = address.path() {
            return Self::Path(path.to_owned());
        }
        #[cfg(target_os = "linux")]
        if let Some(name) = address.as_abstract() {
            return Self::Abstract(name.to_vec());
        }
        Self::None
    }

    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) if address.port() != 0 => Some(address.port()),
            _ => None,
        }
    }

    /// Whether clients can find it: the path of a Unix socket may have been removed.
    pub(crate) fn is_reachable(&self) -> bool {
        match self {
            Self::Path(path) => lstat(path).is_ok_and(|found| file_type(&found) == SFlag::S_IFSOCK),
            _ => true,
        }
    }

    /// Whether it is at the address that is asked for. Port 0 asks for any port.
    pub(crate) fn is_at(&self, asked: &Self) -> bool {
        match (self, asked) {
            (Self::None, _) => false,
            (Self::Ip(own), Self::Ip(asked)) => {
                own.ip() == asked.ip()
                    && scope_id(own) == scope_id(asked)
                    && (asked.port() == 0 || own.port() == asked.port())
            }
            (own, asked) => own == asked,
        }
    }
}

fn scope_id(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V6(address) => address.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Self::None => f.write_str("no address"),
        }
    }
}
