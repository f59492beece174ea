//! The address of a socket, as the kernel gives it.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, UnixAddr, getsockname};
use nix::sys::stat::SFlag;

use crate::sys::safe_open::file_type;
use crate::sys::stat::lstat;

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
        let address = match getsockname::<SockaddrStorage>(fd.as_raw_fd()) {
            Err(Errno::ENOTSOCK) => return Ok(Self::None),
            address => address?,
        };
        Ok(if let Some(address) = address.as_sockaddr_in() {
            Self::Ip(SocketAddr::V4((*address).into()))
        } else if let Some(address) = address.as_sockaddr_in6() {
            Self::Ip(SocketAddr::V6((*address).into()))
        } else if let Some(address) = address.as_unix_addr() {
            Self::of_unix(address)
        } else {
            Self::None
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
