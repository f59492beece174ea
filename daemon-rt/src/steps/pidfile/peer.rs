//! Asks the kernel for the process that listens on the control socket beside a pidfile.

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

/// The time in which a service has to show that it lives.
const PATIENCE_MS: u8 = 200;

/// Finds the process that listens, if it lives.
pub(crate) fn listener(pidfile: &Path) -> Option<Life> {
    let patience = Duration::from_millis(PATIENCE_MS.into());
    let connection = socket::connect_to_service(pidfile, patience)?;
    if !lives(&connection) {
        return None;
    }
    let peer = getsockopt(&connection, sockopt::PeerCredentials).ok()?;
    match peer.pid() {
        0 => Some(Life::Elsewhere),
        pid => Some(Life::Here(Pid::from_raw(pid))),
    }
}

/// Finds the process that listens, if there is a socket at all.
pub(super) fn listener_if_any(pidfile: &Path) -> Option<Life> {
    if !socket::exists(pidfile) {
        return None;
    }
    listener(pidfile)
}

/// Checks whether the process that has begun to listen still lives: a child of it can keep the
/// socket open for longer.
fn lives(connection: &OwnedFd) -> bool {
    match getsockopt(connection, sockopt::PeerPidfd) {
        Ok(process) => !is_readable(&process, PollTimeout::ZERO),
        // Before Linux 6.5. Only the process itself accepts, and closes a connection on which an
        // unknown word comes.
        Err(Errno::ENOPROTOOPT) => {
            let raw = connection.as_raw_fd();
            send(raw, b"?", MsgFlags::MSG_NOSIGNAL).is_ok()
                && is_readable(connection, PATIENCE_MS.into())
                && recv(raw, &mut [0; 1], MsgFlags::MSG_DONTWAIT) == Ok(0)
        }
        // It has ended.
        Err(_) => false,
    }
}

fn is_readable(fd: impl AsFd, limit: PollTimeout) -> bool {
    let mut asked = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(retry(|| poll(&mut asked, limit)), Ok(1..))
}
