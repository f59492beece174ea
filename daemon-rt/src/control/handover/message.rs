//! What is said over the control socket: a word or a few, and descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::service::listen::Origin;
use crate::sys::{self, retry};

/// As many descriptors as one message can carry: `SCM_MAX_FD`, see unix(7).
pub(super) const MOST_DESCRIPTORS: usize = 253;
/// The longest text of a message: as many names as descriptors, each with 255 bytes and two more,
/// fit.
const LONGEST: usize = 1 << 16;

/// A message that was received. An empty one is the end of the conversation.
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// A service that accepts no caller, and one that accepts and says nothing, are the same to who
/// waits.
pub(super) fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has not answered in time")
}

pub(super) fn send(connection: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    sendmsg::<()>(
        connection.as_fd().as_raw_fd(),
        &[IoSlice::new(text)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Waits for a message.
pub(super) fn receive(connection: &OwnedFd, patience: Option<Duration>) -> io::Result<Message> {
    let timeout = match patience {
        Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    if retry(|| {
        poll(
            &mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)],
            timeout,
        )
    })? == 0
    {
        return Err(no_answer());
    }
    let mut text = vec![0; LONGEST];
    let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(
        connection.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        flags,
    )?;
    let mut fds = Vec::new();
    // An error where not all have arrived, as this process may have no more: then none is known.
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(passed) = control {
            fds.extend(passed.into_iter().map(sys::adopt_received));
        }
    }
    let length = message.bytes;
    text.truncate(length);
    Ok(Message { text, fds })
}

/// The text of a message with sockets: how many there are in all messages, and of each one here who
/// has opened it, and its name.
pub(super) fn write_sockets<'a>(
    total: usize,
    here: impl Iterator<Item = (Origin, &'a str)>,
) -> Vec<u8> {
    let mut text = total.to_string();
    for (origin, name) in here {
        text.push('\0');
        text.push(match origin {
            Origin::Manager => 'M',
            Origin::Service => 'S',
        });
        text.push_str(name);
    }
    text.into_bytes()
}

/// Reads it; `None` if it is not such a text. The names come from a process that may be hostile.
pub(super) fn read_sockets(text: &[u8]) -> Option<(usize, Vec<(Origin, String)>)> {
    let text = String::from_utf8_lossy(text);
    let mut parts = text.split('\0');
    let total = parts.next()?.parse().ok()?;
    let mut sockets = Vec::new();
    for part in parts {
        let origin = match part.chars().next()? {
            'M' => Origin::Manager,
            'S' => Origin::Service,
            _ => return None,
        };
        let name = part[1..]
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        sockets.push((origin, name));
    }
    Some((total, sockets))
}

/// What is left of a time that began then.
pub(super) fn left(began: Instant, patience: Duration) -> Duration {
    patience.saturating_sub(began.elapsed())
}
