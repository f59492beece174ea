//! Steps 14 and 15: what the daemon tells its starter, and what the starter makes of it.
//!
//! The daemon's side of a pipe carries bounded messages. The pipe is non-blocking and never fills:
//! progress is sent only while little else waits to be read, so that even a pipe of two pages has
//! room for the result.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
#[cfg(target_vendor = "apple")]
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::writev;
use nix::unistd::{Pid, read};

use crate::sys::kept::Kept;
use crate::sys::{self, retry};

#[cfg(test)]
mod tests;

/// The longest text of a failure, in bytes.
pub(crate) const LONGEST_FAILURE: usize = 4000;
/// The longest text of a progress message, in bytes.
pub(crate) const LONGEST_PROGRESS: usize = 500;
/// How many bytes may wait to be read where progress is sent: a starter that is only slow misses
/// none of it.
const BACKLOG: usize = 2000;

/// What is said over the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the intermediate process: the daemon's pid.
    Forked(Pid),
    /// What the daemon is doing.
    Progress(String),
    /// What the person who started it should know, although the start goes well.
    Warning(String),
    /// Initialization is complete.
    Ready,
    /// The start failed: the exit status that stands for the cause, and the text for people.
    Failed(Failure),
}

/// Why a start failed, in the form in which the person who started it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    /// The number of the system's error behind it, for a manager.
    pub(crate) errno: Option<i32>,
    pub(crate) text: String,
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self {
            status: error.status(),
            errno: error.errno(),
            text: crate::error::chain(&error),
        }
    }
}

/// A message is its kind, a status (0 but in failures), the length of its text in two bytes, a
/// number in four (the pid in [`Message::Forked`], the system's error or 0 in failures, else 0),
/// numbers little end first, and the text.
const HEADER: usize = 8;
/// The kernel has no higher ones.
const HIGHEST_ERRNO: i32 = 4095;

impl Message {
    /// The message as it goes over the pipe. What a good start sends takes no memory: in a process
    /// that was just forked that costs more than all the rest.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `Reporter::tell`")]
    fn encode(&self) -> ([u8; HEADER], Cow<'_, str>) {
        let (kind, status, number, text) = match self {
            Self::Forked(pid) => (b'F', 0, pid.as_raw(), "".into()),
            Self::Progress(text) => (b'P', 0, 0, cut(text, LONGEST_PROGRESS)),
            Self::Warning(text) => (b'W', 0, 0, cut(text, LONGEST_PROGRESS)),
            Self::Ready => (b'R', 0, 0, "".into()),
            Self::Failed(failure) => (
                b'E',
                failure.status,
                failure
                    .errno
                    .filter(|errno| (0..=HIGHEST_ERRNO).contains(errno))
                    .unwrap_or(0),
                cut(&failure.text, LONGEST_FAILURE),
            ),
        };
        let [low, high] = u16::try_from(text.len())
            .expect("texts are cut to less")
            .to_le_bytes();
        let [a, b, c, d] = number.to_le_bytes();
        ([kind, status, low, high, a, b, c, d], text)
    }

    /// Takes the first message off `bytes`: `None` if it is not complete yet.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Result<Option<Self>, Malformed> {
        let &[kind, status, low, high, a, b, c, d, ref rest @ ..] = *bytes else {
            return Ok(None);
        };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length > LONGEST_FAILURE {
            return Err(Malformed);
        }
        let Some((text, rest)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        let text = || String::from_utf8_lossy(text).into_owned();
        let message = match (kind, i32::from_le_bytes([a, b, c, d])) {
            (b'F', pid @ 1..) => Self::Forked(Pid::from_raw(pid)),
            (b'P', 0) => Self::Progress(text()),
            (b'W', 0) => Self::Warning(text()),
            (b'R', 0) => Self::Ready,
            (b'E', errno @ 0..=HIGHEST_ERRNO) => Self::Failed(Failure {
                status,
                errno: if errno == 0 { None } else { Some(errno) },
                text: text(),
            }),
            _ => return Err(Malformed),
        };
        *bytes = rest;
        Ok(Some(message))
    }
}

/// Something else than the daemon has written into the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Shortens a text to at most `longest` bytes, and says so where it does.
pub(crate) fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let mark = format!("… [cut at {longest} bytes]");
    let end = (0..=longest - mark.len())
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    format!("{}{mark}", &text[..end]).into()
}

/// The daemon's end of the pipe.
pub(crate) struct Reporter(Kept);

/// The starter's end of the pipe.
pub(crate) struct Receiver {
    pipe: OwnedFd,
    unread: Vec<u8>,
    ended: bool,
}

/// The pipe between them, closed on exec.
pub(crate) fn channel() -> nix::Result<(Reporter, Receiver)> {
    let (read, write) = pipe()?;
    Ok((
        Reporter(Kept::new(write)?),
        Receiver {
            pipe: read,
            unread: Vec::new(),
            ended: false,
        },
    ))
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
    /// Says what the daemon is doing, if the starter has read most of what was said so far: a
    /// starter that is suspended misses it.
    pub(crate) fn progress(&mut self, text: &str) {
        let Ok(pipe) = self.0.get() else { return };
        if sys::unread(pipe).is_ok_and(|bytes| bytes <= BACKLOG) {
            let message = Message::Progress(text.to_owned());
            let (header, text) = message.encode();
            _ = writev(
                pipe,
                &[IoSlice::new(&header), IoSlice::new(text.as_bytes())],
            );
        }
    }

    /// Tells the starter something it has to know; `false` if the starter is gone, which is not an
    /// error.
    ///
    /// # Errors
    /// If a hook has closed or replaced the descriptor, among others.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a new process has to map each page of code and constants anew"
    )]
    pub(crate) fn tell(&mut self, message: &Message) -> io::Result<bool> {
        let (header, text) = message.encode();
        self.send(header, &text)
    }

    fn send(&self, header: [u8; HEADER], text: &str) -> io::Result<bool> {
        let pipe = self.0.get()?;
        let mut slices = [IoSlice::new(&header), IoSlice::new(text.as_bytes())];
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match writev(pipe, rest) {
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE) => return Ok(false),
                Err(Errno::EAGAIN) => {
                    let mut room = [PollFd::new(pipe, PollFlags::POLLOUT)];
                    retry(|| poll(&mut room, PollTimeout::NONE))?;
                }
                Err(error) => return Err(error.into()),
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

    /// Has `heed` called with each message that is there.
    pub(crate) fn read(&mut self, mut heed: impl FnMut(Message)) -> io::Result<()> {
        let mut buffer = [0; 512];
        loop {
            let length = match read(&self.pipe, &mut buffer) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // Only the beginning of a message is kept: that of a good start comes in one piece, and
            // takes no memory.
            let mut unread = mem::take(&mut self.unread);
            let mut rest = &buffer[..length];
            if !unread.is_empty() {
                unread.extend(rest);
                rest = &unread;
            }
            while let Some(message) = Message::decode(&mut rest).map_err(|Malformed| malformed())? {
                heed(message);
            }
            self.unread = rest.to_vec();
            self.ended = length == 0;
            if length < buffer.len() {
                return Ok(());
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::other("it does not speak the protocol")
}
