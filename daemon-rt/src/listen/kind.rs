//! What a descriptor is, as far as the types of the standard library tell it apart.

use std::fmt;
use std::os::fd::BorrowedFd;

use nix::libc;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};

use crate::sys;
use crate::trusted::kind;

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
    pub const TCP_LISTENER: Self = Self::Socket { unix: false, role: Role::StreamListener };
    pub const TCP_STREAM: Self = Self::Socket { unix: false, role: Role::Stream };
    pub const UDP: Self = Self::Socket { unix: false, role: Role::Datagram };
    pub const UNIX_LISTENER: Self = Self::Socket { unix: true, role: Role::StreamListener };
    pub const UNIX_STREAM: Self = Self::Socket { unix: true, role: Role::Stream };
    pub const UNIX_DATAGRAM: Self = Self::Socket { unix: true, role: Role::Datagram };

    pub(crate) fn of(fd: BorrowedFd<'_>) -> Self {
        let Ok(found) = fstat(fd) else { return Self::Other };
        match kind(&found) {
            SFlag::S_IFIFO => Self::Fifo,
            SFlag::S_IFSOCK => Self::of_socket(fd).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    fn of_socket(fd: BorrowedFd<'_>) -> Option<Self> {
        let unix = match sys::socket_family(fd).ok()? {
            libc::AF_UNIX => true,
            libc::AF_INET | libc::AF_INET6 => false,
            _ => return None,
        };
        let listens = getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false);
        let role = match (getsockopt(&fd, sockopt::SockType).ok()?, listens) {
            (SockType::Stream, true) => Role::StreamListener,
            (SockType::Stream, false) => Role::Stream,
            (SockType::Datagram, _) => Role::Datagram,
            (SockType::SeqPacket, true) => Role::SeqPacketListener,
            (SockType::SeqPacket, false) => Role::SeqPacket,
            _ => return None,
        };
        Some(Self::Socket { unix, role })
    }

    /// Clients reach the service by it, under its address.
    pub(crate) fn is_reached(self) -> bool {
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
            Self::Socket { role: Role::SeqPacketListener, .. } => "a listening Unix sequential-packet socket",
            Self::Socket { .. } => "a Unix sequential-packet connection",
            Self::Fifo => "a FIFO",
            Self::Other => "something else",
        })
    }
}
