//! The kind of a descriptor, as far as the types of the standard library tell kinds apart.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use nix::sys::stat::SFlag;

use crate::sys::safe_open::file_type;
use crate::sys::stat::fstat;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Socket { unix: bool, role: Role },
    Fifo,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    StreamListener,
    Stream,
    Datagram,
    SeqPacketListener,
    SeqPacket,
}

impl Kind {
    pub const TCP_LISTENER: Self = Self::Socket {
        unix: false,
        role: Role::StreamListener,
    };
    pub const TCP_STREAM: Self = Self::Socket {
        unix: false,
        role: Role::Stream,
    };
    pub const UDP: Self = Self::Socket {
        unix: false,
        role: Role::Datagram,
    };
    pub const UNIX_LISTENER: Self = Self::Socket {
        unix: true,
        role: Role::StreamListener,
    };
    pub const UNIX_STREAM: Self = Self::Socket {
        unix: true,
        role: Role::Stream,
    };
    pub const UNIX_DATAGRAM: Self = Self::Socket {
        unix: true,
        role: Role::Datagram,
    };

    /// # Errors
    /// If the system does not tell the kind.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> nix::Result<Self> {
        match file_type(&fstat(fd)?) {
            SFlag::S_IFIFO => Ok(Self::Fifo),
            SFlag::S_IFSOCK => Self::of_socket(fd),
            _ => Ok(Self::Other),
        }
    }

    fn of_socket(fd: BorrowedFd<'_>) -> nix::Result<Self> {
        let unix = match getsockname::<SockaddrStorage>(fd.as_raw_fd())?.family() {
            Some(AddressFamily::Unix) => true,
            Some(AddressFamily::Inet | AddressFamily::Inet6) => false,
            _ => return Ok(Self::Other),
        };
        let listens = getsockopt(&fd, sockopt::AcceptConn)?;
        let role = match (getsockopt(&fd, sockopt::SockType)?, listens) {
            (SockType::Stream, true) => Role::StreamListener,
            (SockType::Stream, false) => Role::Stream,
            (SockType::Datagram, _) => Role::Datagram,
            (SockType::SeqPacket, true) => Role::SeqPacketListener,
            (SockType::SeqPacket, false) => Role::SeqPacket,
            _ => return Ok(Self::Other),
        };
        Ok(Self::Socket { unix, role })
    }

    /// Whether clients reach the service through it, at its address.
    pub(crate) fn is_for_clients(self) -> bool {
        match self {
            Self::Socket { role, .. } => !matches!(role, Role::Stream | Role::SeqPacket),
            Self::Fifo => true,
            Self::Other => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::TCP_LISTENER => "a listening TCP socket",
            Self::TCP_STREAM => "a TCP connection",
            Self::UDP => "a UDP socket",
            Self::Socket { unix: false, .. } => "an SCTP socket",
            Self::UNIX_LISTENER => "a listening Unix stream socket",
            Self::UNIX_STREAM => "a Unix stream connection",
            Self::UNIX_DATAGRAM => "a Unix datagram socket",
            Self::Socket {
                role: Role::SeqPacketListener,
                ..
            } => "a listening Unix sequential-packet socket",
            Self::Socket { .. } => "a Unix sequential-packet connection",
            Self::Fifo => "a FIFO",
            Self::Other => "something else",
        })
    }
}
