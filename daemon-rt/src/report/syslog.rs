//! The system log, as syslog(3) writes to it, but without its waiting: a log that nobody reads (a
//! daemon that hangs or is stopped) must not keep a service that has failed alive.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use nix::syslog::{Facility, Severity};
use nix::unistd::getpid;

use crate::report::log::printable;
use crate::sys;
use crate::sys::kept::Kept;

/// A log that does not read, or is gone, neither holds up the service nor ends it.
#[cfg(not(target_vendor = "apple"))]
const AT_ONCE: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);
/// On macOS that it is gone is a SIGPIPE, which Rust's runtime ignores.
#[cfg(target_vendor = "apple")]
const AT_ONCE: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// Where the system's log daemon listens.
#[cfg(target_os = "linux")]
const PATH: &str = "/dev/log";
#[cfg(target_vendor = "apple")]
const PATH: &str = "/var/run/syslog";
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
const PATH: &str = "/var/run/log";

/// How long a log that has no room is waited for, in all, until it has room again. What it has no
/// room for is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest message, in bytes: less than any system's longest datagram.
const LONGEST: usize = 1 << 15;

static LOG: Mutex<Log> = Mutex::new(Log {
    socket: None,
    patience: PATIENCE,
});

struct Log {
    socket: Option<Connection>,
    /// What is left of it.
    patience: Duration,
}

struct Connection {
    socket: Kept,
    /// On a stream a NUL byte ends each message.
    stream: bool,
}

/// Connects to the system log, which is out of reach after a chroot(2).
pub(crate) fn connect_log() {
    let mut log = log();
    if log.socket.is_none() {
        log.socket = open().ok();
    }
}

/// Writes each line of a text to the system log. That there is none is not an error.
pub(crate) fn write(name: &str, text: &str) {
    let mut log = log();
    for part in printable(text).lines().flat_map(parts) {
        log.write(name, part);
    }
}

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line in parts that are not too long.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = (0..=line.len().min(LONGEST)).rfind(|&end| line.is_char_boundary(end))?;
        rest = (end < line.len()).then_some(&line[end..]);
        Some(&line[..end])
    })
}

impl Log {
    fn write(&mut self, name: &str, line: &str) {
        let priority = Facility::LOG_DAEMON as i32 | Severity::LOG_ERR as i32;
        let mut message = format!("<{priority}>");
        if let Some(time) = sys::local_time() {
            write_time(&mut message, &time);
        }
        _ = write!(message, "{name}[{}]: {line}", getpid());
        // The log daemon may have been started once more since the last message.
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = open().ok();
            }
            match self.send(&message) {
                Ok(()) | Err(Failed::NoRoom) => return,
                Err(Failed::Disconnected) => self.socket = None,
            }
        }
    }

    fn send(&mut self, message: &str) -> Result<(), Failed> {
        let connection = self.socket.as_ref().ok_or(Failed::Disconnected)?;
        let socket = connection.socket.get().map_err(|_| Failed::Disconnected)?;
        let mut bytes = message.as_bytes().to_vec();
        if connection.stream {
            bytes.push(0);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match send(socket.as_raw_fd(), rest, AT_ONCE) {
                Ok(sent) => rest = &rest[sent.min(rest.len())..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.patience = wait_for_room(socket, self.patience)?;
                }
                Err(Errno::EMSGSIZE) => return Err(Failed::NoRoom),
                Err(_) => return Err(Failed::Disconnected),
            }
        }
        self.patience = PATIENCE;
        Ok(())
    }
}

/// Why a message was not sent.
enum Failed {
    NoRoom,
    Disconnected,
}

/// Waits until there may be room, and returns what is left of the patience.
fn wait_for_room(socket: BorrowedFd<'_>, patience: Duration) -> Result<Duration, Failed> {
    let began = Instant::now();
    let limit = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    _ = poll(&mut [PollFd::new(socket, PollFlags::POLLOUT)], limit);
    // At least something is taken off, so that this comes to an end whatever poll(2) says.
    let left = patience.saturating_sub(began.elapsed().max(Duration::from_millis(1)));
    if left.is_zero() {
        Err(Failed::NoRoom)
    } else {
        Ok(left)
    }
}

/// As RFC 3164 has it: `Nov  7 09:05:00 `, local time.
fn write_time(message: &mut String, time: &libc::tm) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = usize::try_from(time.tm_mon)
        .ok()
        .and_then(|month| MONTHS.get(month))
        .unwrap_or(&"Jan");
    _ = write!(
        message,
        "{month} {:2} {:02}:{:02}:{:02} ",
        time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec
    );
}

fn open() -> io::Result<Connection> {
    match open_as(SockType::Datagram) {
        // Some log daemons listen for streams.
        Err(Errno::EPROTOTYPE) => Ok(Connection {
            socket: open_as(SockType::Stream)?,
            stream: true,
        }),
        socket => Ok(Connection {
            socket: socket?,
            stream: false,
        }),
    }
}

fn open_as(kind: SockType) -> nix::Result<Kept> {
    let socket = socket(AddressFamily::Unix, kind, SockFlag::empty(), None)?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    connect(socket.as_raw_fd(), &UnixAddr::new(PATH)?)?;
    Kept::new(socket)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_line_is_sent_in_parts() {
        let line = "ä".repeat(super::LONGEST);
        let parts: Vec<_> = super::parts(&line).collect();
        assert_eq!(parts.concat(), line);
        assert_eq!(parts.len(), 2);
        assert_eq!(super::parts("").collect::<Vec<_>>(), [""]);
    }
}
