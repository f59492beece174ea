//! Notifying the manager: sd_notify(3) through `NOTIFY_SOCKET`, a newline through
//! `DAEMON_NOTIFY_FD`, or both.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrLike, UnixAddr, connect,
    sendmsg, socket,
};
use nix::unistd::{Pid, read, write};

use super::pipe::LONGEST_FAILURE;
use super::{log, text};
use crate::error::{During, Error, Failure};
use crate::step::Step;
use crate::sys::kept::Kept;
use crate::sys::{self, FIRST, Start, parse, retry};

/// How long to wait for a manager that reads slowly. Then there is a warning, and the service goes
/// on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a manager waits after a progress message before it gives up the start.
const EXTENSION: Duration = Duration::from_secs(30);

static NOTIFIER: OnceLock<Notifier> = OnceLock::new();

/// The connections to the manager that the environment names.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<Kept>,
    /// A socket to PID 1, which relays the messages of this process, its child.
    relay: OnceLock<Kept>,
    /// The readiness descriptor, closed after readiness has been written. Without one there is no
    /// mutex to lock either: a daemon would have to copy the page that it is in.
    fd: Option<Mutex<Option<Kept>>>,
    /// Whether the last reload failed, and the manager shows that.
    reload_failed: AtomicBool,
    /// Whether the manager is another's: that of whoever gave a control command.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    is_left: AtomicBool,
}

/// The connections of this process; without a manager there are none.
pub(crate) fn notifier() -> &'static Notifier {
    NOTIFIER.get_or_init(Notifier::default)
}

/// Connects to what the environment names: now, as it may be out of reach after a chroot(2). A
/// failure is a warning, and does not fail the start. Returns the descriptors that must stay open.
pub(crate) fn connect_to_manager(
    start: &Start,
    address: Option<OsString>,
    number: Option<OsString>,
) -> Vec<RawFd> {
    let mut notifier = Notifier::default();
    let mut fds = Vec::new();
    if let Some(address) = address {
        match open(&address) {
            Ok(socket) => {
                fds.push(socket.as_fd().as_raw_fd());
                notifier.socket = Some(socket);
            }
            Err(error) => warn(
                &format!("NOTIFY_SOCKET {}", address.to_string_lossy()),
                &error,
            ),
        }
    }
    if let Some(number) = number {
        match adopt(start, &number) {
            Ok(fd) => {
                fds.push(fd.as_fd().as_raw_fd());
                notifier.fd = Some(Mutex::new(Some(fd)));
            }
            Err(error) => warn(
                &format!("DAEMON_NOTIFY_FD {}", number.to_string_lossy()),
                &error,
            ),
        }
    }
    _ = NOTIFIER.set(notifier);
    fds
}

fn warn(object: &str, error: &io::Error) {
    log::error(&format!("cannot notify the manager: {object}: {error}"));
}

fn adopt(start: &Start, number: &OsString) -> io::Result<Kept> {
    match parse::<RawFd>(number) {
        Some(fd) if fd >= FIRST => Ok(Kept::new(sys::adopt_inherited(start, fd)?)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
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
        _ => Err(not_an_address()),
    }
}

fn not_an_address() -> io::Error {
    io::Error::other("not the address of a socket")
}

/// Connects to `vsock:CID:PORT`, from a virtual machine to the manager of its host. `vsock-stream:`
/// and the like fix the type of the socket.
#[cfg(target_os = "linux")]
fn vsock(address: &OsStr) -> io::Result<Kept> {
    let Some(address) = address.to_str() else {
        return Err(not_an_address());
    };
    let parts: Vec<&str> = address.split(':').collect();
    let [scheme, cid, port] = parts[..] else {
        return Err(not_an_address());
    };
    let types: &[SockType] = match scheme {
        "vsock" => &[SockType::Datagram, SockType::SeqPacket, SockType::Stream],
        "vsock-dgram" => &[SockType::Datagram],
        "vsock-seqpacket" => &[SockType::SeqPacket],
        "vsock-stream" => &[SockType::Stream],
        _ => return Err(not_an_address()),
    };
    let (Ok(cid), Ok(port)) = (cid.parse(), port.parse()) else {
        return Err(not_an_address());
    };
    let address = nix::sys::socket::VsockAddr::new(cid, port);
    let mut result = Err(not_an_address());
    for &socket_type in types {
        result = open_to(AddressFamily::Vsock, socket_type, &address);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn open_to(
    family: AddressFamily,
    socket_type: SockType,
    address: &dyn SockaddrLike,
) -> io::Result<Kept> {
    let fd = socket(family, socket_type, SockFlag::empty(), None)?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    connect(fd.as_raw_fd(), address)?;
    Ok(Kept::new(fd)?)
}

impl Notifier {
    /// Whether there is a manager to send more to than readiness.
    pub(crate) fn exists(&self) -> bool {
        self.peer().is_some()
    }

    /// Sends nothing from now on.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// The socket of the manager itself.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref()?.get().ok()
    }

    /// Sends through PID 1 from now on.
    pub(crate) fn send_through(&self, relay: Kept) {
        _ = self.relay.set(relay);
    }

    /// The socket to send to.
    fn peer(&self) -> Option<&Kept> {
        #[cfg(all(feature = "cli", target_os = "linux"))]
        if self.is_left.load(Ordering::Relaxed) {
            return None;
        }
        self.relay.get().or(self.socket.as_ref())
    }

    /// Reports that the service is ready. `main` is its main process if that is not the one that
    /// the manager started.
    pub(crate) fn ready(&self, main: Option<Pid>) {
        if self.exists() {
            match main {
                Some(pid) => self.send(&format!("MAINPID={pid}\nREADY=1")),
                None => self.send("READY=1"),
            }
        }
        if let Some(fd) = self.take_fd() {
            if let Err(error) = write_newline(&fd) {
                warn("DAEMON_NOTIFY_FD", &error);
            }
        }
    }

    /// Fails if the service has closed or replaced the descriptors that lead to the manager.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        if let Some(socket) = self.peer() {
            socket.get().during(Step::Notify, "NOTIFY_SOCKET")?;
        }
        if let Some(fd) = &self.fd {
            if let Some(fd) = &*fd.lock().unwrap_or_else(PoisonError::into_inner) {
                fd.get().during(Step::Notify, "DAEMON_NOTIFY_FD")?;
            }
        }
        Ok(())
    }

    /// Closes the readiness descriptor: another process writes to its copy.
    #[inline]
    pub(crate) fn close_fd(&self) {
        drop(self.take_fd());
    }

    #[inline]
    fn take_fd(&self) -> Option<Kept> {
        let mut fd = self
            .fd
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        fd.take()
    }

    /// Reports what the service is doing. It can be lost: the next one is newer.
    pub(crate) fn status(&self, text: &str) {
        _ = self.transmit(&format!("STATUS={}", one_line(text)), &[], Duration::ZERO);
    }

    /// The same before the service is ready: the manager waits longer, too.
    pub(crate) fn progress(&self, text: &str) {
        let (text, extension) = (one_line(text), EXTENSION.as_micros());
        let message = format!("STATUS={text}\nEXTEND_TIMEOUT_USEC={extension}");
        _ = self.transmit(&message, &[], Duration::ZERO);
    }

    /// Reports that the start has failed. Waits until the manager has read that: after the end of
    /// this process it could not tell whose message it was.
    pub(crate) fn failed(&self, failure: &Failure) {
        if self.exists() {
            let text = one_line(&failure.text);
            let errno = errno_line(failure.errno);
            let status = failure.status;
            self.send(&format!("STATUS={text}\n{errno}EXIT_STATUS={status}"));
            self.barrier();
        }
    }

    /// Reports that the service reloads, and clears the report of an earlier reload that failed.
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

    /// Reports that the service has reloaded.
    pub(crate) fn reloaded(&self) {
        self.send("READY=1");
    }

    /// Reports that the service could not reload, and goes on as before: the protocol has no other
    /// end of a reload.
    pub(crate) fn reload_failed(&self, reason: &str, errno: Option<i32>) {
        self.reload_failed.store(true, Ordering::Release);
        let reason = one_line(reason);
        let errno = errno_line(errno);
        self.send(&format!("STATUS=cannot reload: {reason}\n{errno}READY=1"));
    }

    /// Sends a message, and warns if that fails.
    pub(crate) fn send(&self, message: &str) {
        if let Err(error) = self.transmit(message, &[], PATIENCE) {
            warn("NOTIFY_SOCKET", &error);
        }
    }

    /// Waits until the manager has read every message so far.
    pub(crate) fn barrier(&self) {
        if self.exists() {
            _ = self.wait_for_barrier();
        }
    }

    /// The manager closes the descriptor that comes with this message.
    fn wait_for_barrier(&self) -> io::Result<()> {
        let (here, there) = sys::pipe()?;
        self.transmit("BARRIER=1", &[there.as_fd()], PATIENCE)?;
        drop(there);
        let mut patience = PATIENCE;
        while read(&here, &mut [0]) == Err(Errno::EAGAIN) && !patience.is_zero() {
            patience = sys::wait_for(here.as_fd(), PollFlags::POLLIN, patience);
        }
        Ok(())
    }

    fn transmit(
        &self,
        message: &str,
        fds: &[BorrowedFd<'_>],
        mut patience: Duration,
    ) -> io::Result<()> {
        let Some(socket) = self.peer() else {
            return Ok(());
        };
        let socket = socket.get()?;
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[] } else { &rights[..] };
        // Rust's runtime ignores SIGPIPE.
        let flags = MsgFlags::MSG_DONTWAIT;
        let text = [IoSlice::new(message.as_bytes())];
        loop {
            match sendmsg::<()>(socket.as_raw_fd(), &text, control, flags, None) {
                Err(Errno::EAGAIN) if !patience.is_zero() => {
                    patience = sys::wait_for(socket, PollFlags::POLLOUT, patience);
                }
                result => {
                    result?;
                    return Ok(());
                }
            }
        }
    }
}

fn write_newline(fd: &Kept) -> io::Result<()> {
    let fd = fd.get()?;
    retry(|| write(fd, b"\n"))?;
    Ok(())
}

/// Makes a text fit into a message. systemd ignores one that has more than 4096 bytes or a NUL.
fn one_line(text: &str) -> String {
    text::one_line(text, LONGEST_FAILURE)
}

fn errno_line(errno: Option<i32>) -> String {
    match errno {
        Some(errno) => format!("ERRNO={errno}\n"),
        None => String::new(),
    }
}

/// Gives the manager a descriptor to store, under a name, until the service is started again. Then
/// [`listeners`] returns it: so connections survive a restart.
///
/// Follows `FDSTORE=1` of sd_notify(3); the unit must set `FileDescriptorStoreMax=`. The manager
/// drops a descriptor when the other end hangs up. To close a stored TCP connection for its peer,
/// call [`TcpStream::shutdown`](std::net::TcpStream::shutdown): the manager has a copy.
///
/// ```no_run
/// use std::net::TcpStream;
///
/// fn keep(number: u32, connection: &TcpStream) -> std::io::Result<()> {
///     daemon_rt::store_fd(&format!("connection-{number}"), connection)
/// }
/// ```
///
/// # Errors
/// If there is no manager that stores descriptors, or it cannot be reached. The name must be 1 to
/// 255 bytes of ASCII without control characters and `:`.
///
/// [`listeners`]: crate::listeners
pub fn store_fd(name: &str, fd: impl AsFd) -> io::Result<()> {
    to_store(name, "FDSTORE=1", &[fd.as_fd()])
}

/// Has the manager drop the descriptors that it stores under a name, see [`store_fd`].
///
/// ```no_run
/// daemon_rt::remove_stored_fd("connection-7")?;
/// # Ok::<_, std::io::Error>(())
/// ```
///
/// # Errors
/// As [`store_fd`].
pub fn remove_stored_fd(name: &str) -> io::Result<()> {
    to_store(name, "FDSTOREREMOVE=1", &[])
}

fn to_store(name: &str, request: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    check_fd_name(name)?;
    if !notifier().exists() {
        return Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "there is no manager that stores descriptors",
        ));
    }
    notifier().transmit(&format!("{request}\nFDNAME={name}"), fds, PATIENCE)
}

/// Fails if a descriptor cannot have this name, see `FDNAME=` in sd_notify(3).
pub(crate) fn check_fd_name(name: &str) -> io::Result<()> {
    let is_unfit = |c: char| !c.is_ascii() || c.is_control() || c == ':';
    if name.is_empty() || name.len() > 255 || name.contains(is_unfit) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name must be 1 to 255 bytes of ASCII without control characters and ':'",
        ));
    }
    Ok(())
}
