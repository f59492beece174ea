//! `Listener`: a descriptor that was passed, of any kind.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::kind::Kind;
use crate::error::Error;

/// A descriptor that was opened for the service: a socket or FIFO to listen on, or one that was
/// stored by [`store_fd`](crate::store_fd).
///
/// `TryFrom` converts it to the type of the standard library for its kind, which it checks. From
/// there it goes to the types of the asynchronous runtimes, which need it non-blocking first. To
/// `OwnedFd` it converts whatever its kind.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    name: String,
    kind: Kind,
}

impl Listener {
    pub(super) fn new(name: String, kind: Kind, fd: OwnedFd) -> Self {
        Self { fd, name, kind }
    }

    /// Returns its name: `FileDescriptorName=` of a systemd unit, or the name by which the older
    /// instance took it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the descriptor if it is of the wanted kind.
    pub(super) fn checked(self, wanted: Kind) -> Result<OwnedFd, Error> {
        if self.kind == wanted {
            return Ok(self.fd);
        }
        Err(Error::opening(
            format!("the descriptor {} from the manager", self.name),
            io::Error::other(format!("it is {}, not {wanted}", self.kind)),
        ))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.fd
    }
}

macro_rules! try_from_listener {
    ($($type:ty: $kind:expr;)*) => {$(
        impl TryFrom<Listener> for $type {
            type Error = Error;

            fn try_from(listener: Listener) -> Result<Self, Error> {
                listener.checked($kind).map(Self::from)
            }
        }
    )*};
}

try_from_listener! {
    TcpListener: Kind::TCP_LISTENER;
    TcpStream: Kind::TCP_STREAM;
    UdpSocket: Kind::UDP;
    UnixListener: Kind::UNIX_LISTENER;
    UnixStream: Kind::UNIX_STREAM;
    UnixDatagram: Kind::UNIX_DATAGRAM;
    File: Kind::Fifo;
}
