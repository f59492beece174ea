//! The sockets on which the service listens: passed by the manager or by an older instance, or
//! opened.

mod address;
mod copies;
mod kind;
mod listener;
mod local_addr;
mod open;
mod passed;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{Shutdown, shutdown};

pub use address::Address;
pub(crate) use copies::{SocketCopy, copies_for_successor, drop_copies, keep_copies};
pub use listener::Listener;
pub use open::Listen;
pub(crate) use passed::{Origin, pass, pass_from_manager};

use crate::error::Error;
use crate::report::notify::check_fd_name;
use crate::sys;
use local_addr::LocalAddr;
use passed::{Entry, State, Table, Wanted, table};

/// How many sockets that were not taken are reported by a line each.
const MOST_LINES: usize = 10;

/// Returns a socket that listens at an address, under a name. This one call makes a service work
/// with a manager that opens its sockets, without one, and over restarts that lose no connection.
///
/// `T` is [`TcpListener`](std::net::TcpListener), [`UdpSocket`](std::net::UdpSocket),
/// [`UnixListener`](std::os::unix::net::UnixListener) or
/// [`UnixDatagram`](std::os::unix::net::UnixDatagram). The call returns, in this order:
///
/// 1. the socket of this name that the manager has opened (systemd: `FileDescriptorName=`), at
///    whatever address; or, if the manager has opened a single socket without a name, or one at
///    this address, that one;
/// 2. in a restart that hands over, the older instance's socket of this name if it is at this
///    address, or one at this address under another name. If the address has changed, the new one
///    is opened, and the old one is closed when the service is ready;
/// 3. a new socket. TCP is bound with `SO_REUSEADDR`. A Unix socket replaces the socket file of an
///    instance that has ended. The mode of the file follows the umask of the service, as with std:
///    with the `umask` of 0 that daemon(7) asks for, everyone can connect.
///
/// Port 0 stands for any port; in a restart the port stays. Several sockets can share a name, and
/// differ by their addresses. Call it in a hook, or before
/// [`Ready::notify`](crate::Ready::notify): a socket that has not been taken when the service is
/// ready is closed, with a message. A service that opens sockets later cannot hand over; a restart
/// stops it first.
///
/// The path of a Unix socket is not removed at the end of the service. If the service removes it
/// itself, it must not do so when [`Shutdown::replaced`](crate::Shutdown::replaced) says that a
/// successor uses it.
///
/// ```no_run
/// # use std::net::TcpListener;
/// # use std::os::unix::net::UnixListener;
/// # fn open() -> Result<(), daemon_rt::Error> {
/// let public = daemon_rt::listen::<TcpListener>("http", "[::]:8080")?;
/// let admin = daemon_rt::listen::<UnixListener>("admin", "/run/example/admin.sock")?;
/// # Ok(())
/// # }
/// ```
///
/// The types of tokio are made from those of std, inside the runtime. With axum:
///
/// ```ignore
/// #[daemon_rt::daemon(pidfile = "/run/example.pid", cli, init = init)]
/// #[tokio::main]
/// async fn main(listener: std::net::TcpListener) -> std::io::Result<()> {
///     let listener = tokio::net::TcpListener::from_std(listener)?;
///     let app = axum::Router::new();
///     axum::serve(listener, app).with_graceful_shutdown(daemon_rt::shutdown()).await
/// }
///
/// fn init() -> Result<std::net::TcpListener, Box<dyn std::error::Error + Send + Sync>> {
///     let listener = daemon_rt::listen::<std::net::TcpListener>("http", "[::]:8080")?;
///     listener.set_nonblocking(true)?;
///     Ok(listener)
/// }
/// ```
///
/// # Errors
/// If the socket of this name is of another type, if several passed sockets could be meant (the
/// error lists them), if the environment names descriptors that are not open, or if the socket
/// cannot be opened. The name must be 1 to 255 bytes of ASCII without control characters and `:`.
pub fn listen<T: Listen>(name: &str, address: impl Into<Address>) -> Result<T, Error> {
    let address = address.into();
    let opening = |error| Error::opening(format!("the socket {name} ({address})"), error);
    let addresses = T::resolve(&address).map_err(opening)?;
    let wanted = Wanted {
        name,
        kind: T::KIND,
        addresses: Some(&addresses),
    };
    take_or(&wanted, || match T::open(&addresses) {
        Ok(socket) => Ok(socket),
        Err(error) => Err(opening(table().explain(error, &addresses))),
    })
}

/// The same as [`listen`] for a socket with options of its own: `open` opens it if none was passed.
///
/// In a restart that hands over, the older instance's socket of this name and type is taken, at
/// whatever address.
///
/// ```no_run
/// # use std::net::TcpListener;
/// # fn bind() -> Result<(), daemon_rt::Error> {
/// let listener = daemon_rt::listener_or("http", || TcpListener::bind("127.0.0.1:7007"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`listen`], or if `open` fails.
pub fn listener_or<T: Listen>(
    name: &str,
    open: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    let wanted = Wanted {
        name,
        kind: T::KIND,
        addresses: None,
    };
    take_or(&wanted, || {
        open().map_err(|error| Error::opening(wanted.describe(), error))
    })
}

/// Takes the passed descriptors that have not been taken yet, in their order: those of socket units
/// (`LISTEN_FDS`), named by `FileDescriptorName=`, stored ones, and in a restart those of the older
/// instance. If there are none, the list is empty.
///
/// If the manager passes fewer names than descriptors, the rest are called `unknown`; names in
/// excess are ignored. A descriptor that has not been taken when the service is ready is closed,
/// with a message, even if it is a stored connection.
///
/// ```no_run
/// use std::net::TcpListener;
///
/// for listener in daemon_rt::listeners()? {
///     if listener.name() == "http" {
///         let _http = TcpListener::try_from(listener)?;
///     }
/// }
/// # Ok::<_, daemon_rt::Error>(())
/// ```
///
/// # Errors
/// If the environment names descriptors that are not open, or if some were closed when the service
/// became ready.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    let mut table = table();
    table.check()?;
    let mut listeners = Vec::new();
    for entry in &mut table.entries {
        if entry.is_untaken() {
            listeners.push(take(entry)?);
        }
    }
    Ok(listeners)
}

fn take_or<T: Listen>(
    wanted: &Wanted<'_>,
    open: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if let Err(error) = check_fd_name(wanted.name) {
        let object = format!("the socket {:?}", wanted.name);
        return Err(Error::opening(object, error));
    }
    let mut table = table();
    if let Some(index) = table.find(wanted)? {
        table.rename(index, wanted.name);
        let taken = take(&mut table.entries[index])?;
        return Ok(T::from(taken.checked(wanted.kind)?));
    }
    drop(table);
    let socket = open()?;
    note_opened(wanted, &socket);
    copies::keep(wanted.name, Origin::Service, socket.as_fd())?;
    Ok(socket)
}

fn take(entry: &mut Entry) -> Result<Listener, Error> {
    let object = format!("the socket {}", entry.describe());
    let taking = |error| Error::opening(object.clone(), error);
    if let State::Open(fd) = &entry.state {
        // First, so that it stays in the table if this fails.
        copies::keep(&entry.name, entry.origin, fd.get().map_err(taking)?)?;
    }
    let Some(fd) = entry.take_fd(State::Taken) else {
        let problem = "it was closed when the service was ready, as no hook had taken it: take it in one, or defer readiness";
        return Err(taking(io::Error::other(problem)));
    };
    let fd = fd.into_fd().map_err(taking)?;
    Ok(Listener::new(entry.name.clone(), entry.kind, fd))
}

/// Notes the addresses of a socket that was opened, and whether the older instance has one of that
/// name, for the message about it.
fn note_opened(wanted: &Wanted<'_>, socket: &impl AsFd) {
    let mut table = table();
    if let Some(addresses) = wanted.addresses {
        table.opened.extend_from_slice(addresses);
    }
    let is_older = |index: usize| table.entries[index].is_untaken();
    if table.called(wanted.name, 0).any(is_older) {
        let local = LocalAddr::of(socket.as_fd()).unwrap_or(LocalAddr::None);
        let moved = (wanted.name.to_owned(), local.to_string());
        table.moved.push(moved);
    }
}

/// Returns the messages about sockets that have not been taken and are about to be closed: a line
/// each, and one for all the rest if there are many.
#[inline]
pub(crate) fn untaken() -> Vec<String> {
    if passed::is_unused() {
        return Vec::new();
    }
    let table = table();
    let mut lines = Vec::new();
    let mut more = 0;
    for entry in &table.entries {
        match entry.state {
            State::Open(_) if lines.len() < MOST_LINES => lines.push(describe_end(entry, &table)),
            State::Open(_) => more += 1,
            State::Taken | State::Closed => {}
        }
    }
    if more > 0 {
        lines.push(format!(
            "closed {more} more sockets that the service has not taken"
        ));
    }
    lines
}

fn describe_end(entry: &Entry, table: &Table) -> String {
    if let Some((name, to)) = table.moved.iter().find(|(name, _)| *name == entry.name) {
        let from = entry.local.to_string();
        return if *to == from {
            format!("bound the socket {name} again: {to} was gone")
        } else {
            format!("the socket {name} has moved from {from} to {to}")
        };
    }
    let socket = entry.describe();
    match entry.origin {
        Origin::Manager => format!("closed the socket {socket}: the service has not taken it"),
        Origin::Service => format!("closed the socket {socket}: the new instance has not taken it"),
    }
}

/// Closes the sockets that have not been taken: the service is ready.
#[inline]
pub(crate) fn close_untaken() {
    if passed::is_unused() {
        return;
    }
    let mut fds = Vec::new();
    for entry in &mut table().entries {
        let Some(fd) = entry.take_fd(State::Closed) else {
            continue;
        };
        // The number is the service's now if it has closed or replaced the socket.
        let Ok(fd) = fd.into_fd() else { continue };
        // The old instance can keep its copy for long, and clients that connect would wait in vain.
        // The manager goes on listening on its own copy.
        if entry.origin == Origin::Service && entry.kind.is_for_clients() {
            _ = shutdown(fd.as_raw_fd(), Shutdown::Both);
        }
        fds.push(fd);
    }
    // Closing can take for ever if a hostile instance has sent them.
    sys::close_aside(fds);
}
