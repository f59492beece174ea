//! The process that listens on the control socket beside a pidfile, by the kernel's word.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, sockopt};
use nix::unistd::Pid;

use super::marks::Life;
use super::socket;
use crate::sys::retry;

/// How long a service may take to show that it lives.
const PATIENCE: Duration = Duration::from_millis(200);

/// The process that listens, if it lives.
pub(crate) fn listener(pidfile: &Path) -> Option<Life> {
    let connection = socket::connect_to_service(pidfile, PATIENCE)?;
    if !lives(&connection) {
        return None;
    }
    match getsockopt(&connection, sockopt::PeerCredentials)
        .ok()?
        .pid()
    {
        0 => Some(Life::Elsewhere),
        pid => Some(Life::Here(Pid::from_raw(pid))),
    }
}

/// The same, after a look whether there is a socket at all.
pub(super) fn listener_if_any(pidfile: &Path) -> Option<Life> {
    if !socket::exists(pidfile) {
        return None;
    }
    listener(pidfile)
}

/// Whether the process that has begun to listen still lives. A child of its can keep the socket
/// open for longer.
fn lives(connection: &OwnedFd) -> bool {
    match getsockopt(connection, sockopt::PeerPidfd) {
        Ok(process) => !is_readable(&process, PollTimeout::ZERO),
        // Before Linux 6.5. But only the process itself accepts: and it closes what brings a word
        // that it does not know.
        Err(Errno::ENOPROTOOPT) => {
            send(connection.as_raw_fd(), b"?", MsgFlags::MSG_NOSIGNAL).is_ok()
                && is_readable(
                    connection,
                    PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO),
                )
                && recv(connection.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT) == Ok(0)
        }
        // It has ended.
        Err(_) => false,
    }
}

fn is_readable(fd: impl AsFd, limit: PollTimeout) -> bool {
    let mut asked = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    retry(|| poll(&mut asked, limit)).is_ok_and(|ready| ready > 0)
}
