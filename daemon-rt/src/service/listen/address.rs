//! The address to listen at, as the service gives it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::path::{Path, PathBuf};

#[cfg(unix)]
use super::local_addr::LocalAddr;

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
    #[cfg(unix)]
    pub(super) fn unix(&self) -> io::Result<LocalAddr> {
        let path = match &self.0 {
            #[cfg(target_os = "linux")]
            Form::Text(text) if text.starts_with('@') => {
                return Ok(LocalAddr::Abstract(text.as_bytes()[1..].to_vec()));
            }
            Form::Text(text) => Path::new(text),
            Form::Path(path) => path,
            Form::Host(..) | Form::Ip(_) => Path::new(""),
        };
        // For an empty path bind(2) chooses an address that no client knows.
        if path.as_os_str().is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the address of a Unix socket is a path",
            ));
        }
        Ok(LocalAddr::Path(path.to_owned()))
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
