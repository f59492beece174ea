//! What the service says to its manager, passed on by PID 1. A manager hears the process that it
//! started, and that is PID 1 where it made a pid namespace for the service: systemd's
//! `PrivatePIDs=`, systemd-nspawn's `--notify-ready=`.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

use crate::report::notify::{PATIENCE, notifier};
use crate::sys::kept::Kept;
use crate::sys::{self, retry};

/// The longest message that systemd reads.
const LONGEST: usize = 4096;
/// As many descriptors as one message can carry.
const MOST_DESCRIPTORS: usize = 253;

/// PID 1's side.
pub(super) struct Relay {
    manager: BorrowedFd<'static>,
    /// `None` once no process of the service can speak any more.
    service: Option<OwnedFd>,
    /// Readable while a signal is pending. The signal itself is left to sigwaitinfo(2).
    signals: SignalFd,
    /// What the manager has had no room for.
    unsent: Option<Message>,
}

struct Message {
    text: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Relay {
    /// The relay and the service's end of it, or `None` if no manager listens. All signals must be
    /// blocked.
    pub(super) fn new() -> io::Result<Option<(Self, Kept)>> {
        let Some(manager) = notifier().socket() else {
            return Ok(None);
        };
        // Unlike a datagram socket, this one tells when the other end is closed.
        let (ours, service) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)?;
        Ok(Some((
            Self {
                manager,
                service: Some(ours),
                signals,
                unsent: None,
            },
            Kept::new(service)?,
        )))
    }

    /// Passes messages on until a signal is pending.
    pub(super) fn until_signal(&mut self) {
        while let Ok(false) = self.signal_comes_first() {
            self.pass_on();
        }
    }

    /// Passes on what the service, which has ended, has left to be said.
    pub(super) fn finish(&mut self) {
        while self.pass_on() {
            if self.unsent.is_some() {
                let room = self.manager.as_fd();
                if sys::wait_for(room, PollFlags::POLLOUT, PATIENCE).is_zero() {
                    return;
                }
            }
        }
    }

    /// Waits for a signal, for a message from the service, or for room for the one that is unsent.
    fn signal_comes_first(&self) -> nix::Result<bool> {
        let mut events = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.unsent.is_some() {
            events.push(PollFd::new(self.manager.as_fd(), PollFlags::POLLOUT));
        } else if let Some(service) = &self.service {
            events.push(PollFd::new(service.as_fd(), PollFlags::POLLIN));
        }
        retry(|| poll(&mut events, PollTimeout::NONE))?;
        Ok(events[0].any() == Some(true))
    }

    /// Takes the next message and sends it; `false` if there is none.
    fn pass_on(&mut self) -> bool {
        let Some(message) = self.unsent.take().or_else(|| self.receive()) else {
            return false;
        };
        if message.send(self.manager) == Err(Errno::EAGAIN) {
            self.unsent = Some(message);
        }
        true
    }

    fn receive(&mut self) -> Option<Message> {
        match Message::receive(self.service.as_ref()?) {
            Ok(message) if message.text.is_empty() && message.fds.is_empty() => self.service = None,
            Ok(message) => return Some(message),
            Err(Errno::EAGAIN) => {}
            Err(_) => self.service = None,
        }
        None
    }
}

impl Message {
    fn receive(service: &OwnedFd) -> nix::Result<Self> {
        let mut text = vec![0; LONGEST];
        let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let mut buffers = [IoSliceMut::new(&mut text)];
        let received = recvmsg::<()>(service.as_raw_fd(), &mut buffers, Some(&mut control), flags)?;
        let mut fds = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(passed) = message {
                fds.extend(passed.into_iter().map(sys::adopt_received));
            }
        }
        let length = received.bytes;
        text.truncate(length);
        Ok(Self {
            text: without_main_pid(&text),
            fds,
        })
    }

    fn send(&self, manager: BorrowedFd<'_>) -> nix::Result<()> {
        let fds: Vec<RawFd> = self.fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[] } else { &rights[..] };
        let text = [IoSlice::new(&self.text)];
        retry(|| {
            sendmsg::<()>(
                manager.as_raw_fd(),
                &text,
                control,
                MsgFlags::MSG_DONTWAIT,
                None,
            )
        })
        .map(drop)
    }
}

/// Leaves out `MAINPID=` and the like. The number would be another process's to the manager, which
/// believes PID 1, a process of root's, where it would not believe the service.
fn without_main_pid(text: &[u8]) -> Vec<u8> {
    let lines = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"MAINPID"));
    lines.collect::<Vec<_>>().join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::without_main_pid;

    #[test]
    fn a_service_names_no_main_process() {
        let kept = |text: &str| String::from_utf8(without_main_pid(text.as_bytes())).expect("text");
        assert_eq!(
            kept("READY=1\nSTATUS=MAINPID=1"),
            "READY=1\nSTATUS=MAINPID=1"
        );
        assert_eq!(kept("MAINPID=7\nREADY=1\n"), "READY=1\n");
        assert_eq!(kept("READY=1\nMAINPIDFDID=7"), "READY=1");
        assert_eq!(kept("MAINPID=7"), "");
    }
}
