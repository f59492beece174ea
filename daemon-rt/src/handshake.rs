//! Steps 14 and 15: what the daemon tells its starter, and what the starter makes of it.
//!
//! The daemon's side of a pipe carries bounded messages. The pipe is non-blocking and never fills: progress is sent
//! only while little else waits to be read, so that even a pipe of two pages has room for the result.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
#[cfg(target_vendor = "apple")]
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::inherited::retry;
use crate::sys;

#[cfg(test)]
mod tests;

/// The longest text of a failure, in bytes.
pub(crate) const LONGEST_FAILURE: usize = 4000;
/// The longest text of a progress message, in bytes.
pub(crate) const LONGEST_PROGRESS: usize = 500;
/// How many bytes may wait to be read where progress is sent: a starter that is only slow misses none of it.
const BACKLOG: usize = 2000;

/// What is said over the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the intermediate process: the daemon's pid.
    Forked(Pid),
    /// What the daemon is doing.
    Progress(String),
    /// Initialization is complete.
    Ready,
    /// The start failed: the exit status that stands for the cause, and the text for people.
    Failed(Failure),
}

/// Why a start failed, in the form in which the person who started it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    /// The number of the system's error behind it, for a manager; it does not go over the pipe.
    pub(crate) errno: Option<i32>,
    pub(crate) text: String,
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self { status: error.status(), errno: error.errno(), text: crate::error::chain(&error) }
    }
}

/// A message is its kind, a status (0 but in failures), the length of its text in two bytes, little end first, and the
/// text.
const HEADER: usize = 4;

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, status, text) = match self {
            Self::Forked(pid) => (b'F', 0, pid.to_string()),
            Self::Progress(text) => (b'P', 0, cut(text, LONGEST_PROGRESS)),
            Self::Ready => (b'R', 0, String::new()),
            Self::Failed(failure) => (b'E', failure.status, cut(&failure.text, LONGEST_FAILURE)),
        };
        let length = u16::try_from(text.len()).expect("texts are cut to less");
        let mut bytes = vec![kind, status];
        bytes.extend(length.to_le_bytes());
        bytes.extend(text.into_bytes());
        bytes
    }

    /// Takes the first message off `bytes`: `None` if it is not complete yet.
    pub(crate) fn decode(bytes: &mut Vec<u8>) -> Result<Option<Self>, Malformed> {
        let &[kind, status, low, high, ..] = bytes.as_slice() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length > LONGEST_FAILURE {
            return Err(Malformed);
        }
        if bytes.len() < HEADER + length {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&bytes[HEADER..HEADER + length]).into_owned();
        bytes.drain(..HEADER + length);
        match kind {
            b'F' => text.parse().ok().filter(|&pid| pid > 0).map(|pid| Self::Forked(Pid::from_raw(pid))),
            b'P' => Some(Self::Progress(text)),
            b'R' => Some(Self::Ready),
            b'E' => Some(Self::Failed(Failure { status, errno: None, text })),
            _ => None,
        }
        .map_or(Err(Malformed), |message| Ok(Some(message)))
    }
}

/// Something else than the daemon has written into the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Shortens a text to at most `longest` bytes, and says so where it does.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mark = format!("… [cut at {longest} bytes]");
    let end = (0..=longest - mark.len()).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}{mark}", &text[..end])
}

/// The daemon's end of the pipe.
pub(crate) struct Reporter(File);

/// The starter's end of the pipe.
pub(crate) struct Receiver {
    pipe: File,
    unread: Vec<u8>,
    ended: bool,
}

/// The pipe between them, closed on exec.
pub(crate) fn channel() -> nix::Result<(Reporter, Receiver)> {
    let (read, write) = pipe()?;
    Ok((Reporter(write.into()), Receiver { pipe: read.into(), unread: Vec::new(), ended: false }))
}

/// A pipe whose ends are closed on exec and do not block.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let ends = nix::unistd::pipe()?;
    for end in [&ends.0, &ends.1] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(ends)
}

impl Reporter {
    /// Says what the daemon is doing, if the starter has read most of what was said so far: a starter that is suspended
    /// misses it.
    pub(crate) fn progress(&mut self, text: &str) {
        if sys::unread(self.0.as_fd()).is_ok_and(|bytes| bytes <= BACKLOG) {
            _ = self.0.write(&Message::Progress(text.to_owned()).encode());
        }
    }

    /// Tells the starter something it has to know; `false` if the starter is gone, which is no error.
    pub(crate) fn tell(&mut self, message: &Message) -> io::Result<bool> {
        let bytes = message.encode();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.0.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe => return Ok(false),
                    io::ErrorKind::WouldBlock => {
                        let mut room = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                        retry(|| poll(&mut room, PollTimeout::NONE))?;
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

impl Receiver {
    /// The descriptor to wait on.
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether nobody holds the other end any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// The next message that is there, `None` if there is none (yet, or any more).
    pub(crate) fn next(&mut self) -> io::Result<Option<Message>> {
        let mut buffer = [0; 512];
        loop {
            match Message::decode(&mut self.unread) {
                Ok(None) => {}
                Ok(message) => return Ok(message),
                Err(Malformed) => return Err(io::Error::other("it does not speak the protocol")),
            }
            match self.pipe.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(None);
                }
                Ok(length) => self.unread.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
