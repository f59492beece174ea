//! The succession: another instance takes the pidfile over in a restart, over the control socket
//! beside it.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use nix::unistd::getpid;

use super::held::{Held, SocketFile, held, names_this_process};
use super::line::read_pid;
use super::marks;
use super::state::State;
use crate::sys;
use crate::sys::safe_open::{ReadyPath, remove_known};

/// Remembers the control socket, over which a successor can take the pidfile over.
pub(crate) fn set_socket(socket: SocketFile) {
    if let Some(held) = held() {
        _ = held.socket.set(socket);
    }
}

/// Removes the control socket, if it is this process's. Calls only what signal-safety(7) allows.
pub(super) fn remove_socket(held: &Held) {
    if let Some(socket) = held.socket.get() {
        remove_known(&socket.path, &socket.directory, &socket.file);
    }
}

/// Removes the control socket at another path: it does not have its own yet.
pub(crate) fn remove_socket_at(path: &ReadyPath) {
    let Some(held) = held() else { return };
    if let Some(socket) = held.socket.get() {
        remove_known(path, &socket.directory, &socket.file);
    }
}

/// Checks whether another instance has the pidfile, or is about to: a restart is under way, or is
/// over and this process does not know it yet. Calls only what signal-safety(7) allows.
pub(super) fn is_passed_on(held: &Held) -> bool {
    held.socket.get().is_some()
        && (marks::is_restarting(held.lock.as_fd()) || !names_this_process())
}

/// Checks whether a successor has taken the service over, or is about to: it has the sockets.
pub(crate) fn is_replaced() -> bool {
    let Some(held) = held() else { return false };
    if held.handing_over.load(Ordering::Acquire) > 0 || held.state.load() == State::GivenUp {
        return true;
    }
    if held.socket.get().is_none() {
        return false;
    }
    matches!(read_pid(&held.lock), Ok(Some(named)) if named != getpid())
}

/// Remembers that a successor is given the lock and the sockets, with an unknown outcome.
pub(crate) fn begin_hand_over() {
    if let Some(held) = held() {
        held.handing_over.fetch_add(1, Ordering::AcqRel);
    }
}

/// Remembers that the outcome is known.
pub(crate) fn end_hand_over() {
    if let Some(held) = held() {
        held.handing_over.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Shows the sessions of older instances on the lock, which a newer one has by now.
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) fn set_old_sessions(sessions: &[nix::unistd::Pid]) {
    let Some(held) = held() else { return };
    if held.is_locked() {
        marks::set_old_sessions(held.lock.as_fd(), sessions);
    }
}

/// Leaves the pidfile to another process, which shares the lock: a newer instance, or the starter's
/// daemon. Here the lock's descriptor is closed, so that this process hinders no start for as long as
/// it lives.
pub(crate) fn disown() {
    let Some(held) = held() else { return };
    held.state.give_up();
    // The marks of this process end with it.
    if held.is_locked() {
        _ = sys::detach_fd(held.lock.as_fd());
    }
}
