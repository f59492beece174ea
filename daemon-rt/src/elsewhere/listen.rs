//! The sockets on which the service listens: it opens them itself.

#[path = "../service/listen/address.rs"]
mod address;

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};

pub use address::Address;

use crate::error::Error;

/// The types of the standard library that [`listen`](crate::listen) returns: [`TcpListener`] and
/// [`UdpSocket`]. Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a socket of the standard library",
    label = "expected `TcpListener` or `UdpSocket` of std",
    note = "for tokio: take the socket of std, call `set_nonblocking(true)`, and pass it to `from_std` in the runtime"
)]
pub trait Listen: Open {}

impl Listen for TcpListener {}
impl Listen for UdpSocket {}

/// Cannot be named outside of this crate, and seals [`Listen`].
pub trait Open: Sized {
    fn open(address: &Address) -> io::Result<Self>;
}

impl Open for TcpListener {
    fn open(address: &Address) -> io::Result<Self> {
        Self::bind(&*address.resolve()?)
    }
}

impl Open for UdpSocket {
    fn open(address: &Address) -> io::Result<Self> {
        Self::bind(&*address.resolve()?)
    }
}

/// Opens a socket that listens at an address. On a system that is not Unix none is passed, and the
/// name is for messages alone.
///
/// # Errors
/// If the socket cannot be opened.
pub fn listen<T: Listen>(name: &str, address: impl Into<Address>) -> Result<T, Error> {
    let address = address.into();
    match T::open(&address) {
        Ok(socket) => Ok(socket),
        Err(error) => {
            let object = format!("the socket {name} ({address})");
            Err(Error::opening(object, error))
        }
    }
}

/// The same as [`listen`] for a socket that `open` opens.
///
/// # Errors
/// If `open` fails.
pub fn listener_or<T: Listen>(
    name: &str,
    open: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    match open() {
        Ok(socket) => Ok(socket),
        Err(error) => Err(Error::opening(format!("the socket {name}"), error)),
    }
}

/// Takes the sockets that were passed. On a system that is not Unix there are none.
///
/// # Errors
/// None.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    Ok(Vec::new())
}

/// A socket that was passed. There is none on a system that is not Unix.
#[derive(Debug)]
pub struct Listener(Infallible);

impl Listener {
    /// Returns its name.
    pub fn name(&self) -> &str {
        match self.0 {}
    }
}

macro_rules! try_from_listener {
    ($($type:ty)*) => {$(
        impl TryFrom<Listener> for $type {
            type Error = Error;

            fn try_from(listener: Listener) -> Result<Self, Error> {
                match listener.0 {}
            }
        }
    )*};
}

try_from_listener! { TcpListener TcpStream UdpSocket }
