//! The sockets on which the service listens: passed by the manager or by an older instance, or else
//! opened.

mod address;
mod copies;
mod kind;
mod listener;
mod open;
mod passed;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{Shutdown, shutdown};

pub use address::Address;
pub(crate) use copies::{Copy, copies_for_successor, drop_copies, keep_copies};
pub use listener::Listener;
pub use open::Listen;
pub(crate) use passed::{Origin, pass, pass_from_manager};

use crate::error::Error;
use crate::report::notify::check_fd_name;
use crate::sys;
use address::Local;
use passed::{Asked, Came, Passed, State, passed};

/// How many of the sockets that no one has taken are told of one by one.
const MOST_LINES: usize = 10;

/// Listens at an address, under a name by which the socket is known again: one line that makes a
/// service work with a manager that opens its sockets, without one, and over restarts that lose no
/// connection.
///
/// `T` is [`TcpListener`](std::net::TcpListener), [`UdpSocket`](std::net::UdpSocket),
/// [`UnixListener`](std::os::unix::net::UnixListener) or
/// [`UnixDatagram`](std::os::unix::net::UnixDatagram). In this order it returns
///
/// 1. the socket of this name that the manager has opened (systemd: `FileDescriptorName=`),
///    wherever that listens; where the manager has opened a single socket without a name, or one
///    that listens at this address, that one;
/// 2. in a restart that hands over: the older instance's socket of this name, if it listens at this
///    address, or one that does under another name. Where the address has changed the new one is
///    opened, and the old one closed when the service is ready;
/// 3. a new socket. TCP is bound with `SO_REUSEADDR`. At the path of a Unix socket, a socket file
///    that an ended instance has left is replaced, and the file's mode follows the umask of the
///    service, as std does it: with the `umask` of 0 that daemon(7) asks for, everyone may connect.
///
/// Port 0 stands for any, also in a restart: the port stays. Several sockets may share a name, and
/// are told apart by their addresses. Call it in a hook, or before
/// [`Ready::notify`](crate::Ready::notify): what no one has taken when the service is ready is
/// closed, and a line says so. A service that opens sockets later cannot hand over, and is stopped
/// first in a restart.
///
/// The path of a Unix socket is not removed at the end of the service. One that removes it itself
/// must not do so when [`Shutdown::replaced`](crate::Shutdown::replaced) says that a successor uses
/// it.
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
/// The types of tokio are made of those of std, inside the runtime. With axum:
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
/// If the socket of this name is of another type, if several that came could be meant (the error
/// lists them), if the environment speaks of descriptors that are not there, or if the socket
/// cannot be opened. A name is 1 to 255 bytes, without control characters and `:`.
pub fn listen<T: Listen>(name: &str, address: impl Into<Address>) -> Result<T, Error> {
    let address = address.into();
    let opening = |error| Error::opening(format!("the socket {name} ({address})"), error);
    let places = T::places(&address).map_err(opening)?;
    let asked = Asked {
        name,
        kind: T::KIND,
        places: Some(&places),
    };
    take_or(&asked, || {
        T::open(&places).map_err(|error| opening(passed().explain(error, &places)))
    })
}

/// The same as [`listen`] for a socket with options of its own: `open` opens it where none was
/// passed.
///
/// In a restart that hands over, the older instance's socket of this name and type is taken,
/// wherever that listens.
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
    let asked = Asked {
        name,
        kind: T::KIND,
        places: None,
    };
    take_or(&asked, || {
        open().map_err(|error| Error::opening(asked.describe(), error))
    })
}

/// The passed descriptors that no one has taken yet, in their order: those of socket units
/// (`LISTEN_FDS`), named by `FileDescriptorName=`, stored ones, and in a restart those of the older
/// instance. Without any there are none, which is no error.
///
/// Where the manager gives fewer names than descriptors the rest are called `unknown`; more names
/// mean nothing. What no one has taken when the service is ready is closed, stored connections
/// included, and a line says so.
///
/// # Errors
/// If the environment speaks of descriptors that are not there, or if there were some that were
/// closed when the service was ready.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    let mut passed = passed();
    passed.checked()?;
    let mut taken = Vec::new();
    for at in 0..passed.came.len() {
        if passed.came[at].is_left() {
            taken.push(take(&mut passed.came[at])?);
        }
    }
    Ok(taken)
}

fn take_or<T: Listen>(
    asked: &Asked<'_>,
    open: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if let Err(error) = check_fd_name(asked.name) {
        return Err(Error::opening(
            format!("the socket {:?}", asked.name),
            error,
        ));
    }
    let mut passed = passed();
    if let Some(found) = passed.find(asked)? {
        let came = &mut passed.came[found];
        asked.name.clone_into(&mut came.name);
        return Ok(T::from(take(came)?.checked(asked.kind)?));
    }
    drop(passed);
    let socket = open()?;
    note_opened(asked, &socket);
    copies::keep(asked.name, Origin::Service, socket.as_fd())?;
    Ok(socket)
}

fn take(came: &mut Came) -> Result<Listener, Error> {
    if let State::Closed = came.state {
        let problem = "it was closed when the service was ready, as no hook had taken it: take it in one, or defer readiness";
        return Err(Error::opening(
            format!("the socket {}", came.describe()),
            io::Error::other(problem),
        ));
    }
    let described = came.describe();
    let taking = |error| Error::opening(format!("the socket {described}"), error);
    if let State::Here(fd) = &came.state {
        // First, so that it is not lost where this fails.
        copies::keep(&came.name, came.origin, fd.get().map_err(taking)?)?;
    }
    match std::mem::replace(&mut came.state, State::Taken) {
        State::Here(fd) => Ok(Listener::new(
            came.name.clone(),
            fd.into_fd().map_err(taking)?,
        )),
        State::Taken | State::Closed => unreachable!("one that is left"),
    }
}

/// Remembers where a socket was opened; and that it was although the older instance has one of this
/// name, for the line that says so.
fn note_opened(asked: &Asked<'_>, socket: &impl AsFd) {
    let mut passed = passed();
    passed
        .opened
        .extend_from_slice(asked.places.unwrap_or_default());
    if passed
        .came
        .iter()
        .any(|came| came.is_left() && came.name == asked.name)
    {
        let local = Local::of(socket.as_fd()).unwrap_or(Local::None);
        passed
            .moved
            .push((asked.name.to_owned(), local.to_string()));
    }
}

/// What no one has taken, and is about to be closed: a line for each, and one for all that are too
/// many.
pub(crate) fn untaken() -> Vec<String> {
    let passed = passed();
    let mut left = passed
        .came
        .iter()
        .filter(|came| matches!(came.state, State::Here(_)));
    let mut lines: Vec<String> = left
        .by_ref()
        .take(MOST_LINES)
        .map(|came| words_for(came, &passed))
        .collect();
    let more = left.count();
    if more > 0 {
        lines.push(format!(
            "closed {more} more sockets that the service has not taken"
        ));
    }
    lines
}

fn words_for(came: &Came, passed: &Passed) -> String {
    match (
        passed.moved.iter().find(|(name, _)| *name == came.name),
        came.origin,
    ) {
        (Some((name, to)), _) if *to == came.local.to_string() => {
            format!("bound the socket {name} again: {to} was gone")
        }
        (Some((name, to)), _) => format!("the socket {name} has moved from {} to {to}", came.local),
        (None, Origin::Manager) => format!(
            "closed the socket {}: the service has not taken it",
            came.describe()
        ),
        (None, Origin::Service) => format!(
            "closed the socket {}: the new instance has not taken it",
            came.describe()
        ),
    }
}

/// Closes what no one has taken: the service is ready.
pub(crate) fn close_untaken() {
    let mut aside = Vec::new();
    for came in &mut passed().came {
        let State::Here(fd) = &came.state else {
            continue;
        };
        // The old instance may keep its copy for long, and whoever connects would wait for nobody.
        // The manager goes on listening on its own.
        let is_clients = came.origin == Origin::Service && came.kind.is_for_clients();
        if let (true, Ok(fd)) = (is_clients, fd.get()) {
            _ = shutdown(fd.as_raw_fd(), Shutdown::Both);
        }
        if let State::Here(fd) = std::mem::replace(&mut came.state, State::Closed) {
            // What the service has closed or replaced itself is not touched.
            aside.extend(fd.into_fd());
        }
    }
    // A hostile instance may have sent what takes for ever to close.
    sys::close_aside(aside);
}
