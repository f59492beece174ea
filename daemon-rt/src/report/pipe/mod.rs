//! The pipe from the daemon to its starter, steps 14 and 15.
//!
//! It carries messages of limited length, is non-blocking and never full: progress is sent only
//! while little else waits to be read, so that even a pipe of two pages has room for the result.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::writev;
use nix::unistd::{Pid, read};

use super::text::cut;
use crate::error::Failure;
use crate::sys::kept::Kept;
use crate::sys::{self, retry};

#[cfg(test)]
mod tests;

/// The longest text of a failure, in bytes.
pub(crate) const LONGEST_FAILURE: usize = 4000;
/// The longest text of a progress message, in bytes.
pub(crate) const LONGEST_PROGRESS: usize = 500;
/// The most bytes that may wait to be read when progress is sent. A starter that is only slow
/// misses none of it.
const BACKLOG: usize = 2000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// From the intermediate process: the daemon's pid.
    Forked(Pid),
    /// The daemon's activity, for the terminal.
    Progress(String),
    /// A line for the terminal, although the start goes well.
    Warning(String),
    /// Initialization is complete.
    Ready,
    Failed(Failure),
}

/// The length of the header: the kind; the status of a failure, else 0; the length of the text that
/// follows, two bytes; the pid of [`Message::Forked`], the errno of a failure, or 0, four bytes.
/// Numbers are little-endian.
const HEADER: usize = 8;
/// The kernel has no higher ones.
const HIGHEST_ERRNO: i32 = 4095;

impl Message {
    /// Encodes the message for the pipe. The messages of a good start take no memory: in a process
    /// that was just forked that would cost more than all the rest.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see `Reporter::tell`")]
    fn encode(&self) -> ([u8; HEADER], Cow<'_, str>) {
        let (kind, status, number, text) = match self {
            Self::Forked(pid) => (b'F', 0, pid.as_raw(), "".into()),
            Self::Progress(text) => (b'P', 0, 0, cut(text, LONGEST_PROGRESS)),
            Self::Warning(text) => (b'W', 0, 0, cut(text, LONGEST_PROGRESS)),
            Self::Ready => (b'R', 0, 0, "".into()),
            Self::Failed(failure) => {
                let errno = match failure.errno {
                    Some(errno) if (0..=HIGHEST_ERRNO).contains(&errno) => errno,
                    _ => 0,
                };
                let text = cut(&failure.text, LONGEST_FAILURE);
                (b'E', failure.status, errno, text)
            }
        };
        let [low, high] = u16::try_from(text.len())
            .expect("the texts are cut")
            .to_le_bytes();
        let [a, b, c, d] = number.to_le_bytes();
        ([kind, status, low, high, a, b, c, d], text)
    }

    /// Takes the first message off `bytes`; `None` if it is not complete yet.
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
                kind: None,
                errno: if errno == 0 { None } else { Some(errno) },
                text: text(),
            }),
            _ => return Err(Malformed),
        };
        *bytes = rest;
        Ok(Some(message))
    }
}

/// The bytes are not a message: another program has written into the pipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The daemon's end of the pipe.
pub(crate) struct Reporter(Kept);

/// The starter's end of the pipe.
pub(crate) struct Receiver {
    pipe: OwnedFd,
    unread: Vec<u8>,
    ended: bool,
}

/// Creates the pipe, closed on exec.
pub(crate) fn channel() -> nix::Result<(Reporter, Receiver)> {
    let (read, write) = sys::pipe()?;
    Ok((
        Reporter(Kept::new(write)?),
        Receiver {
            pipe: read,
            unread: Vec::new(),
            ended: false,
        },
    ))
}

impl Reporter {
    /// Sends what the daemon is doing, unless much waits to be read: a starter that is suspended
    /// misses it.
    pub(crate) fn progress(&mut self, text: &str) {
        let Ok(pipe) = self.0.get() else { return };
        match sys::unread(pipe) {
            Ok(bytes) if bytes <= BACKLOG => {}
            _ => return,
        }
        let message = Message::Progress(text.to_owned());
        let (header, text) = message.encode();
        _ = writev(
            pipe,
            &[IoSlice::new(&header), IoSlice::new(text.as_bytes())],
        );
    }

    /// Sends a message; `false` if the starter is gone, which is not an error.
    ///
    /// # Errors
    /// If a hook has closed or replaced the descriptor, among others.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a new process has to map each page of code and constants again"
    )]
    pub(crate) fn tell(&mut self, message: &Message) -> io::Result<bool> {
        let (header, text) = message.encode();
        send(self.0.get()?, header, &text)
    }

    /// Tells the starter the daemon's pid, from the intermediate process, where no hook has run
    /// since the pipe was made.
    #[inline]
    pub(crate) fn tell_forked(&self, daemon: Pid) -> io::Result<bool> {
        let message = Message::Forked(daemon);
        let (header, text) = message.encode();
        send(self.0.as_fd(), header, &text)
    }

    /// The descriptor, where no hook has run since the pipe was made.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Closes it in the starter, where no hook has run since the pipe was made.
    pub(crate) fn close(self) {
        self.0.close();
    }
}

#[inline]
fn send(pipe: BorrowedFd<'_>, header: [u8; HEADER], text: &str) -> io::Result<bool> {
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

impl Receiver {
    /// The descriptor to wait on.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Whether no process holds the other end any more.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads the messages that are there, and calls `on_message` with each.
    pub(crate) fn read(&mut self, mut on_message: impl FnMut(Message)) -> io::Result<()> {
        let mut buffer = [0; 512];
        loop {
            let length = match read(&self.pipe, &mut buffer) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // Only an incomplete message is kept: those of a good start come in one piece, and take
            // no memory.
            let mut unread = mem::take(&mut self.unread);
            let mut rest = &buffer[..length];
            if !unread.is_empty() {
                unread.extend(rest);
                rest = &unread;
            }
            while let Some(message) = Message::decode(&mut rest)? {
                on_message(message);
            }
            self.unread = rest.to_vec();
            self.ended = length == 0;
            if length < buffer.len() {
                return Ok(());
            }
        }
    }
}

impl From<Malformed> for io::Error {
    fn from(_: Malformed) -> Self {
        Self::other("malformed message")
    }
}
