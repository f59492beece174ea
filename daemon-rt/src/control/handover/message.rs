//! Messages over the control socket: a word or a few, and descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::control::wait::until_readable;
use crate::service::listen::{self, Origin};
use crate::sys;

/// Time limit for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before a call that has failed is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// As many descriptors as one message can carry: `SCM_MAX_FD`, see unix(7).
pub(super) const MOST_DESCRIPTORS: usize = 253;
/// The longest text of a message: room for as many names as descriptors, each of 255 bytes and two
/// more.
const LONGEST: usize = 1 << 16;

/// A message that was received. An empty one is the end of the connection.
pub(super) struct Message {
    pub(super) text: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// For the caller, a service that does not accept and one that does not answer are the same.
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
    if !until_readable(connection, patience)? {
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
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            if let ControlMessageOwned::ScmRights(passed) = control {
                fds.extend(passed.into_iter().map(sys::adopt_received));
            }
        }
    }
    let length = message.bytes;
    text.truncate(length);
    Ok(Message { text, fds })
}

/// Writes the text of a message with sockets: how many there are in all messages, and for each one
/// here who has opened it, and its name.
pub(super) fn write_sockets(total: usize, here: &[listen::SocketCopy]) -> Vec<u8> {
    let mut text = total.to_string();
    for socket in here {
        text.push('\0');
        text.push(match socket.origin {
            Origin::Manager => 'M',
            Origin::Service => 'S',
        });
        text.push_str(&socket.name);
    }
    text.into_bytes()
}

/// Reads such a text; `None` if it is another. The names come from a process that may be hostile.
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

/// The rest of a time that began then.
pub(super) fn left(began: Instant, patience: Duration) -> Duration {
    patience.saturating_sub(began.elapsed())
}
