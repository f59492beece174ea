//! Sockets that the manager has opened for the service, see sd_listen_fds(3).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::libc::pid_t;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::getpid;

use super::{is_init, parse};
use crate::error::Error;
use crate::handover;
use crate::inherited::{FIRST, take_variable};
use crate::sys::{self, StartOfMain};
use crate::trusted::kind;

/// As systemd calls what has no name.
const UNNAMED: &str = "unknown";

/// The descriptors that nobody has taken yet, or what is wrong with the variables.
static PASSED: OnceLock<Result<Mutex<VecDeque<Listener>>, String>> = OnceLock::new();
/// The numbers of the descriptors that were passed.
static NUMBERS: OnceLock<Vec<RawFd>> = OnceLock::new();

/// A descriptor that the manager has opened for the service: a socket or FIFO on which it listens, or one that was
/// stored by [`store_fd`](crate::store_fd).
///
/// `TryFrom` turns it into the type of the standard library that it is, and so into those of the asynchronous
/// runtimes (which want it non-blocking first); its kind is checked. `OwnedFd` takes every kind.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    name: String,
}

/// Reads the variables of the protocol; whether they are meant for this process.
pub(super) fn take(start: &StartOfMain) -> bool {
    let pid = take_variable(start, "LISTEN_PID").and_then(|pid| parse::<pid_t>(&pid));
    let pidfd = take_variable(start, "LISTEN_PIDFDID").and_then(|id| parse::<u64>(&id));
    let count = take_variable(start, "LISTEN_FDS");
    let names = take_variable(start, "LISTEN_FDNAMES");
    let is_own = |id| sys::own_pidfd_id().is_none_or(|own| own == id);
    let is_named = pid == Some(getpid().as_raw()) && pidfd.is_none_or(is_own);
    // To PID 1 of a pid namespace the numbers mean nothing: systemd 257 gives the pid outside, and 262 gives the pidfd
    // of the process that made the namespace. That the descriptors are there must do.
    let may_be = is_init() && pid.is_some();
    if !is_named && !may_be {
        return false;
    }
    let passed = adopt(count, names);
    if !is_named && passed.is_err() {
        return false;
    }
    let numbers = passed.iter().flatten().map(|listener| listener.fd.as_raw_fd()).collect();
    _ = NUMBERS.set(numbers);
    _ = PASSED.set(passed.map(|listeners| Mutex::new(listeners.into())));
    true
}

/// Names may be missing or empty; names in excess mean nothing.
fn adopt(count: Option<OsString>, names: Option<OsString>) -> Result<Vec<Listener>, String> {
    const MOST: RawFd = 1 << 16;
    let count = count.unwrap_or_default();
    let wrong =
        || format!("LISTEN_FDS={}: it is not the number of open descriptors from 3 up", count.to_string_lossy());
    let number = parse::<RawFd>(&count).filter(|number| (0..=MOST).contains(number)).ok_or_else(wrong)?;
    let names = names.unwrap_or_default().to_string_lossy().into_owned();
    let mut names = names.split(':').map(|name| if name.is_empty() { UNNAMED } else { name });
    let fds: Vec<OwnedFd> = (FIRST..FIRST + number).map(sys::adopt).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok(fds.into_iter().map(|fd| Listener { fd, name: names.next().unwrap_or(UNNAMED).to_owned() }).collect())
}

pub(super) fn descriptors() -> impl Iterator<Item = RawFd> {
    NUMBERS.get().into_iter().flatten().copied()
}

/// The descriptors that the manager has passed, in its order: those of socket units (`LISTEN_FDS`), named by
/// `FileDescriptorName=`, and stored ones. They are taken once: a second call returns none. Without a manager that
/// passes any there are none, which is no error.
///
/// Where the manager gives fewer names than descriptors the rest are called `unknown`; more names mean nothing.
///
/// # Errors
/// If the environment speaks of descriptors that are not there.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    let listeners = Vec::from(std::mem::take(&mut *passed()?));
    for listener in &listeners {
        handover::keep_listener(&listener.name, listener.fd.as_fd())?;
    }
    Ok(listeners)
}

/// What nobody has taken yet.
fn passed() -> Result<MutexGuard<'static, VecDeque<Listener>>, Error> {
    match PASSED.get_or_init(|| Ok(Mutex::default())) {
        Ok(passed) => Ok(passed.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(problem) => Err(Error::opening("the sockets from the manager", io::Error::other(problem.clone()))),
    }
}

/// The first passed descriptor that nobody has taken yet or, where there is none, what `open` opens: one line that
/// makes a service work both under a manager that activates it and without one.
///
/// ```no_run
/// # use std::net::TcpListener;
/// # fn bind() -> Result<(), daemon_rt::Error> {
/// let listener = daemon_rt::listener_or(|| TcpListener::bind("127.0.0.1:7007"))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a descriptor was passed that is no `T`, if the environment speaks of descriptors that are not there, or if `open`
/// fails.
pub fn listener_or<T>(open: impl FnOnce() -> io::Result<T>) -> Result<T, Error>
where
    T: TryFrom<Listener, Error = Error> + AsFd,
{
    let first = passed()?.pop_front();
    let name = first.as_ref().map_or_else(|| UNNAMED.to_owned(), |listener| listener.name.clone());
    let socket = match first {
        Some(listener) => T::try_from(listener)?,
        None => open().map_err(|error| Error::opening("the service's own socket", error))?,
    };
    handover::keep_listener(&name, socket.as_fd())?;
    Ok(socket)
}

/// In a restart: what the old instance has handed over.
pub(crate) fn pass(listeners: VecDeque<Listener>) {
    _ = PASSED.set(Ok(Mutex::new(listeners)));
}

impl Listener {
    pub(crate) fn passed(name: &str, fd: OwnedFd) -> Self {
        Self { fd, name: name.to_owned() }
    }

    /// The name that the manager gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// This descriptor, if it is of the wanted kind.
    fn checked(self, wanted: Kind) -> Result<OwnedFd, Error> {
        let found = Kind::of(self.fd.as_fd());
        if found == wanted {
            return Ok(self.fd);
        }
        let problem = format!("it is {found}, not {wanted}");
        Err(Error::opening(format!("the descriptor {} from the manager", self.name), io::Error::other(problem)))
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

/// What a descriptor is, as far as the types of the standard library tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socket { unix: bool, role: Role },
    Fifo,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    StreamListener,
    Stream,
    Datagram,
    SeqPacketListener,
    SeqPacket,
}

impl Kind {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let Ok(found) = fstat(fd) else { return Self::Other };
        match kind(&found) {
            SFlag::S_IFIFO => Self::Fifo,
            SFlag::S_IFSOCK => Self::of_socket(fd).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }

    fn of_socket(fd: BorrowedFd<'_>) -> Option<Self> {
        let unix = match sys::socket_family(fd).ok()? {
            nix::libc::AF_UNIX => true,
            nix::libc::AF_INET | nix::libc::AF_INET6 => false,
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
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Socket { unix: false, role: Role::StreamListener } => "a listening TCP socket",
            Self::Socket { unix: false, role: Role::Stream } => "a TCP connection",
            Self::Socket { unix: false, role: Role::Datagram } => "a UDP socket",
            Self::Socket { unix: false, .. } => "an SCTP socket",
            Self::Socket { unix: true, role: Role::StreamListener } => "a listening Unix stream socket",
            Self::Socket { unix: true, role: Role::Stream } => "a Unix stream connection",
            Self::Socket { unix: true, role: Role::Datagram } => "a Unix datagram socket",
            Self::Socket { unix: true, role: Role::SeqPacketListener } => "a listening Unix sequential-packet socket",
            Self::Socket { unix: true, role: Role::SeqPacket } => "a Unix sequential-packet connection",
            Self::Fifo => "a FIFO",
            Self::Other => "something else",
        })
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
    TcpListener: Kind::Socket { unix: false, role: Role::StreamListener };
    TcpStream: Kind::Socket { unix: false, role: Role::Stream };
    UdpSocket: Kind::Socket { unix: false, role: Role::Datagram };
    UnixListener: Kind::Socket { unix: true, role: Role::StreamListener };
    UnixStream: Kind::Socket { unix: true, role: Role::Stream };
    UnixDatagram: Kind::Socket { unix: true, role: Role::Datagram };
    File: Kind::Fifo;
}
