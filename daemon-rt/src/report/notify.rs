//! Telling the manager: sd_notify(3) through `NOTIFY_SOCKET`, a newline through `DAEMON_NOTIFY_FD`,
//! or both.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrLike, UnixAddr, connect,
    sendmsg, socket,
};
use nix::unistd::{Pid, write};

use crate::error::{During, Error};
use crate::report::pipe::Failure;
use crate::report::{self, log};
use crate::step::Step;
use crate::sys::kept::Kept;
use crate::sys::{self, FIRST, parse, retry};

/// How long a manager that reads slowly is waited for: then it is warned of, and the service goes
/// on.
pub(crate) const PATIENCE: u16 = 5000; // milliseconds
/// How long a manager may wait after a message of progress before it gives the start up.
const EXTENSION: Duration = Duration::from_secs(30);

static NOTIFIER: OnceLock<Notifier> = OnceLock::new();

/// The ways to whom a manager named in the environment; both if there are both.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<Kept>,
    /// Goes to PID 1, which passes on what this process, its child, says.
    relay: OnceLock<Kept>,
    /// Closed once readiness has been written.
    fd: Option<Mutex<Option<Kept>>>,
    /// Whether the last reload failed, and the manager shows that.
    reload_failed: AtomicBool,
}

/// The manager's, which may be none.
pub(crate) fn notifier() -> &'static Notifier {
    NOTIFIER.get_or_init(Notifier::default)
}

/// Takes what the environment names: connected now, as it may be out of reach after a chroot(2).
/// Whatever is wrong with it is worth a warning, not a failed start. Returns the descriptors that
/// are to stay open.
pub(crate) fn set_up(
    socket: Option<OsString>,
    fd: Option<OsString>,
) -> impl Iterator<Item = RawFd> {
    let socket = socket.and_then(|address| {
        let warn = |error: io::Error| {
            warn(
                &format!("NOTIFY_SOCKET {}", address.to_string_lossy()),
                &error,
            );
        };
        open(&address).map_err(warn).ok()
    });
    let fd = fd.and_then(|number| {
        let warn = |error: io::Error| {
            warn(
                &format!("DAEMON_NOTIFY_FD {}", number.to_string_lossy()),
                &error,
            );
        };
        adopt(&number).map_err(warn).ok()
    });
    let numbers: Vec<_> = socket
        .iter()
        .chain(&fd)
        .filter_map(|kept| Some(kept.get().ok()?.as_raw_fd()))
        .collect();
    let fd = fd.map(|fd| Mutex::new(Some(fd)));
    _ = NOTIFIER.set(Notifier {
        socket,
        relay: OnceLock::new(),
        fd,
        reload_failed: false.into(),
    });
    numbers.into_iter()
}

fn warn(what: &str, error: &io::Error) {
    log::complain(
        &report::name(),
        &format!("cannot tell the manager: {what}: {error}"),
    );
}

fn adopt(number: &OsString) -> io::Result<Kept> {
    let fd: RawFd = parse(number)
        .filter(|&fd| fd >= FIRST)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Kept::new(sys::adopt_inherited(fd)?)?)
}

fn open(address: &OsStr) -> io::Result<Kept> {
    match address.as_bytes() {
        path @ [b'/', ..] => open_to(
            AddressFamily::Unix,
            SockType::Datagram,
            &UnixAddr::new(path)?,
        ),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => open_to(
            AddressFamily::Unix,
            SockType::Datagram,
            &UnixAddr::new_abstract(name)?,
        ),
        #[cfg(target_os = "linux")]
        other if other.starts_with(b"vsock") => vsock(address),
        _ => Err(io::Error::other("it is no address of a socket")),
    }
}

/// `vsock:CID:PORT`, from inside a virtual machine to its host's manager; `vsock-stream:` and the
/// like fix the type.
#[cfg(target_os = "linux")]
fn vsock(address: &OsStr) -> io::Result<Kept> {
    let malformed = || io::Error::other("it is no address of a socket");
    let mut parts = address.to_str().ok_or_else(malformed)?.split(':');
    let types: &[SockType] = match parts.next() {
        Some("vsock") => &[SockType::Datagram, SockType::SeqPacket, SockType::Stream],
        Some("vsock-dgram") => &[SockType::Datagram],
        Some("vsock-seqpacket") => &[SockType::SeqPacket],
        Some("vsock-stream") => &[SockType::Stream],
        _ => return Err(malformed()),
    };
    let (Some(cid), Some(port), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    let (cid, port) = (
        cid.parse().map_err(|_| malformed())?,
        port.parse().map_err(|_| malformed())?,
    );
    let address = nix::sys::socket::VsockAddr::new(cid, port);
    let mut result = Err(malformed());
    for &kind in types {
        result = open_to(AddressFamily::Vsock, kind, &address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn open_to(family: AddressFamily, kind: SockType, address: &dyn SockaddrLike) -> io::Result<Kept> {
    let fd = socket(family, kind, SockFlag::empty(), None)?;
    nix::fcntl::fcntl(
        &fd,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    connect(fd.as_raw_fd(), address)?;
    Ok(Kept::new(fd)?)
}

impl Notifier {
    /// Whether there is a manager that listens for more than readiness.
    pub(crate) fn exists(&self) -> bool {
        self.socket.is_some()
    }

    /// The socket of the manager itself.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref()?.get().ok()
    }

    /// From here on PID 1 speaks to the manager for this process.
    pub(crate) fn speak_through(&self, relay: Kept) {
        _ = self.relay.set(relay);
    }

    /// The service is ready; `main` names its main process where that is not the one that the
    /// manager started.
    pub(crate) fn ready(&self, main: Option<Pid>) {
        if self.exists() {
            let main = main.map_or_else(String::new, |pid| format!("MAINPID={pid}\n"));
            self.send(&format!("{main}READY=1"));
        }
        if let Some(fd) = self.take_fd() {
            if let Err(error) = fd.get().and_then(|fd| Ok(retry(|| write(fd, b"\n"))?)) {
                warn("DAEMON_NOTIFY_FD", &error);
            }
        }
    }

    /// Fails if the service has closed or replaced the descriptors that lead to the manager.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(socket) = self.relay.get().or(self.socket.as_ref()) {
            socket.get().during(Step::Notify, "NOTIFY_SOCKET")?;
        }
        if let Some(fd) = &self.fd {
            if let Some(fd) = &*fd.lock().unwrap_or_else(PoisonError::into_inner) {
                fd.get().during(Step::Notify, "DAEMON_NOTIFY_FD")?;
            }
        }
        Ok(())
    }

    /// Another process writes to the readiness descriptor.
    #[inline]
    pub(crate) fn leave_readiness(&self) {
        drop(self.take_fd());
    }

    #[inline]
    fn take_fd(&self) -> Option<Kept> {
        self.fd
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// What the service is doing; before it is ready that is also a reason to wait for longer.
    pub(crate) fn status(&self, text: &str, starting: bool) {
        let text = text.replace('\n', " ");
        let more = if starting {
            format!("\nEXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros())
        } else {
            String::new()
        };
        // Lossy: the next one tells more.
        _ = self.transmit(&format!("STATUS={text}{more}"), &[], 0);
    }

    /// The start has failed. Waits until the manager knows, for afterwards it could not tell whose
    /// message it was.
    pub(crate) fn failed(&self, failure: &Failure) {
        if !self.exists() {
            return;
        }
        let text = failure.text.replace('\n', " ");
        let errno = failure
            .errno
            .map_or_else(String::new, |errno| format!("ERRNO={errno}\n"));
        self.send(&format!(
            "STATUS={text}\n{errno}EXIT_STATUS={}",
            failure.status
        ));
        self.barrier();
    }

    /// The service reloads. What is said of an earlier reload that failed is said no more.
    pub(crate) fn reloading(&self) {
        let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else {
            return;
        };
        let failed = self.reload_failed.swap(false, Ordering::AcqRel);
        let clear = if failed { "\nSTATUS=\nERRNO=0" } else { "" };
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}{clear}",
            Duration::from(now).as_micros()
        ));
    }

    /// The service has reloaded.
    pub(crate) fn reloaded(&self) {
        self.send("READY=1");
    }

    /// The service could not reload, and goes on as it was: the protocol has no other end of a
    /// reload.
    pub(crate) fn reload_failed(&self, reason: &str, errno: Option<i32>) {
        self.reload_failed.store(true, Ordering::Release);
        let reason = reason.replace('\n', " ");
        let errno = errno.map_or_else(String::new, |errno| format!("ERRNO={errno}\n"));
        self.send(&format!("STATUS=cannot reload: {reason}\n{errno}READY=1"));
    }

    /// Sends a message, and warns if that cannot be done.
    pub(crate) fn send(&self, message: &str) {
        if let Err(error) = self.transmit(message, &[], PATIENCE) {
            warn("NOTIFY_SOCKET", &error);
        }
    }

    /// Waits until the manager has read everything so far: it closes the descriptor that comes with
    /// this message.
    pub(crate) fn barrier(&self) {
        let wait = || -> io::Result<()> {
            let (read, write) = nix::unistd::pipe()?;
            self.transmit("BARRIER=1", &[write.as_fd()], PATIENCE)?;
            drop(write);
            poll(
                &mut [PollFd::new(read.as_fd(), PollFlags::POLLIN)],
                PollTimeout::from(PATIENCE),
            )?;
            Ok(())
        };
        if self.exists() {
            _ = wait();
        }
    }

    fn transmit(&self, message: &str, fds: &[BorrowedFd<'_>], patience: u16) -> io::Result<()> {
        let Some(socket) = self.relay.get().or(self.socket.as_ref()) else {
            return Ok(());
        };
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[] } else { &rights[..] };
        // SIGPIPE is ignored, as Rust's runtime has it.
        let flags = MsgFlags::MSG_DONTWAIT;
        let socket = socket.get()?;
        let send = || {
            sendmsg::<()>(
                socket.as_raw_fd(),
                &[IoSlice::new(message.as_bytes())],
                control,
                flags,
                None,
            )
        };
        match send() {
            Err(nix::errno::Errno::EAGAIN) if patience > 0 => {
                poll(
                    &mut [PollFd::new(socket, PollFlags::POLLOUT)],
                    PollTimeout::from(patience),
                )?;
                send()?;
            }
            result => drop(result?),
        }
        Ok(())
    }
}

/// Gives the manager a descriptor to keep, under a name, until the service is started again:
/// [`listeners`] returns it then. Connections survive a restart that way.
///
/// Follows `FDSTORE=1` of sd_notify(3); the unit must set `FileDescriptorStoreMax=`. The manager
/// drops what it stores when the other end hangs up; a TCP connection is closed for its peer by
/// [`TcpStream::shutdown`](std::net::TcpStream::shutdown) alone, for the manager has a copy of it.
///
/// # Errors
/// If there is no manager that stores descriptors, or it cannot be reached. The name must be
/// shorter than 256 bytes and without control characters and `:`.
///
/// [`listeners`]: crate::listeners
pub fn store_fd(name: &str, fd: impl AsFd) -> io::Result<()> {
    to_store(name, "FDSTORE=1", &[fd.as_fd()])
}

/// Has the manager forget the descriptors that it keeps under a name, see [`store_fd`].
///
/// # Errors
/// As [`store_fd`].
pub fn remove_stored_fd(name: &str) -> io::Result<()> {
    to_store(name, "FDSTOREREMOVE=1", &[])
}

fn to_store(name: &str, request: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if name.is_empty() || name.len() > 255 || name.contains(|c: char| c.is_control() || c == ':') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this cannot be the name of a stored descriptor",
        ));
    }
    if !notifier().exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "no manager that stores descriptors runs this service",
        ));
    }
    notifier().transmit(&format!("{request}\nFDNAME={name}"), fds, PATIENCE)
}
