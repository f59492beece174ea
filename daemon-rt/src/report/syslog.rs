//! The system log, as syslog(3) writes to it, but with a limit to waiting: a log daemon that hangs
//! or is stopped must not keep a failed service alive.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};
use nix::syslog::{Facility, Severity};
use nix::unistd::getpid;

use super::text::{char_boundary, printable};
use crate::daemon::log::SYSLOG;
use crate::sys;
use crate::sys::kept::Kept;

/// A log daemon that does not read, or has ended, must neither block the service nor end it.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);
/// On macOS there is a SIGPIPE if it has ended, which Rust's runtime ignores.
#[cfg(target_vendor = "apple")]
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// How long to wait for room in the log, in all, until it has room again. Messages for which it has
/// no room are lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest message, in bytes: less than any system's longest datagram.
const LONGEST: usize = 1 << 15;

static LOG: Mutex<SystemLog> = Mutex::new(SystemLog {
    connection: None,
    patience: PATIENCE,
});

/// The system log, connected or not.
pub(crate) struct SystemLog {
    connection: Option<Connection>,
    /// The rest of [`PATIENCE`].
    patience: Duration,
}

struct Connection {
    socket: Kept,
    /// On a stream a NUL byte ends each message.
    is_stream: bool,
}

/// Connects to the system log, which is out of reach after a chroot(2).
pub(crate) fn connect_log() {
    let mut log = log();
    if log.connection.is_none() {
        log.connection = open().ok();
    }
}

/// Writes each line of a text to the system log. It is not an error if there is no log.
pub(crate) fn write(name: &str, text: &str) {
    let tag = format!("{name}[{}]", getpid());
    let mut log = log();
    for line in text.lines() {
        _ = log.write(Severity::LOG_ERR, &tag, line);
    }
}

fn log() -> MutexGuard<'static, SystemLog> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Splits a line into parts that are not too long.
fn parts(mut line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while line.len() > LONGEST {
        let (part, rest) = line.split_at(char_boundary(line, LONGEST));
        parts.push(part);
        line = rest;
    }
    parts.push(line);
    parts
}

impl SystemLog {
    /// Connects to it.
    pub(crate) fn connect() -> io::Result<Self> {
        Ok(Self {
            connection: Some(open()?),
            patience: PATIENCE,
        })
    }

    /// Writes a line, in parts if it is long.
    pub(crate) fn write(
        &mut self,
        severity: Severity,
        tag: &str,
        line: &str,
    ) -> Result<(), SendError> {
        for part in parts(&printable(line)) {
            self.write_part(severity, tag, part)?;
        }
        Ok(())
    }

    fn write_part(&mut self, severity: Severity, tag: &str, line: &str) -> Result<(), SendError> {
        let priority = Facility::LOG_DAEMON as i32 | severity as i32;
        let mut message = format!("<{priority}>");
        if let Some(time) = sys::local_time() {
            write_time(&mut message, &time);
        }
        _ = write!(message, "{tag}: {line}");
        // The log daemon may have been restarted since the last message.
        for _ in 0..2 {
            if self.connection.is_none() {
                self.connection = open().ok();
            }
            match self.send(&message) {
                Err(SendError::Disconnected) => self.connection = None,
                sent => return sent,
            }
        }
        Err(SendError::Disconnected)
    }

    fn send(&mut self, message: &str) -> Result<(), SendError> {
        let Some(connection) = &self.connection else {
            return Err(SendError::Disconnected);
        };
        let Ok(socket) = connection.socket.get() else {
            return Err(SendError::Disconnected);
        };
        let mut bytes = message.as_bytes().to_vec();
        if connection.is_stream {
            bytes.push(0);
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match send(socket.as_raw_fd(), rest, FLAGS) {
                Ok(sent) => rest = &rest[sent.min(rest.len())..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    self.patience = sys::wait_for(socket, PollFlags::POLLOUT, self.patience);
                    if self.patience.is_zero() {
                        return Err(SendError::NoRoom);
                    }
                }
                Err(Errno::EMSGSIZE) => return Err(SendError::NoRoom),
                Err(_) => return Err(SendError::Disconnected),
            }
        }
        self.patience = PATIENCE;
        Ok(())
    }
}

/// The reason why a message is not in the system log.
#[derive(PartialEq, Eq)]
pub(crate) enum SendError {
    /// The log daemon does not read.
    NoRoom,
    /// There is none.
    Disconnected,
}

/// Writes the local time as RFC 3164 has it: `Nov  7 09:05:00 `.
fn write_time(message: &mut String, time: &libc::tm) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS[time.tm_mon.unsigned_abs() as usize % MONTHS.len()];
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
            is_stream: true,
        }),
        socket => Ok(Connection {
            socket: socket?,
            is_stream: false,
        }),
    }
}

fn open_as(socket_type: SockType) -> nix::Result<Kept> {
    let socket = socket(AddressFamily::Unix, socket_type, SockFlag::empty(), None)?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    connect(socket.as_raw_fd(), &UnixAddr::new(SYSLOG)?)?;
    Kept::new(socket)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_line_is_sent_in_parts() {
        let line = "ä".repeat(super::LONGEST);
        let parts = super::parts(&line);
        assert_eq!(parts.concat(), line);
        assert_eq!(parts.len(), 2);
        assert_eq!(super::parts(""), [""]);
    }
}
