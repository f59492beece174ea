//! A successor: the instance that takes the pidfile over in a restart, and the control socket beside
//! it, over which it does.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use nix::sys::stat::FileStat;
use nix::unistd::getpid;

use super::marks;
use super::own::{Held, State, held, names_this_process};
use super::write::read_pid;
use crate::sys;
use crate::sys::kept::is_still;
use crate::sys::safe_open::{ReadyPath, remove_known};

/// The file of the control socket, to be removed with the pidfile.
pub(crate) struct SocketFile {
    path: ReadyPath,
    directory: FileStat,
    file: FileStat,
}

impl SocketFile {
    /// It will be at this path when this process owns the service.
    pub(crate) fn new(path: ReadyPath, directory: FileStat, file: FileStat) -> Self {
        Self {
            path,
            directory,
            file,
        }
    }
}

/// From here on there is a control socket, over which a successor can take the pidfile over.
pub(crate) fn set_socket(socket: SocketFile) {
    if let Some(held) = held() {
        _ = held.socket.set(socket);
    }
}

/// Removes the control socket, if it is this process's. Only what signal-safety(7) allows is called
/// here.
pub(super) fn remove_socket(held: &Held) {
    if let Some(socket) = held.socket.get() {
        remove_known(&socket.path, &socket.directory, &socket.file);
    }
}

/// The same where it has not got its name yet.
pub(crate) fn remove_socket_at(path: &ReadyPath) {
    if let Some(socket) = held().and_then(|held| held.socket.get()) {
        remove_known(path, &socket.directory, &socket.file);
    }
}

/// Whether the pidfile is, or is about to be, another instance's: a restart is under way, or is
/// over and this process has not heard of it yet. Only what signal-safety(7) allows is called here.
pub(super) fn is_passed_on(held: &Held) -> bool {
    held.socket.get().is_some()
        && (marks::is_restarting(held.lock.as_fd()) || !names_this_process())
}

/// Whether a successor has taken the service over, or is about to: it has been given the sockets.
pub(crate) fn is_replaced() -> bool {
    let Some(held) = held() else { return false };
    if held.handing_over.load(Ordering::Acquire) > 0 || held.is(State::GivenUp) {
        return true;
    }
    let named = read_pid(&held.lock).ok().flatten();
    held.socket.get().is_some() && named.is_some_and(|pid| pid != getpid())
}

/// A successor is being given lock and sockets; what comes of it is not known yet.
pub(crate) fn begin_hand_over() {
    if let Some(held) = held() {
        held.handing_over.fetch_add(1, Ordering::AcqRel);
    }
}

/// The same is known now.
pub(crate) fn end_hand_over() {
    if let Some(held) = held() {
        held.handing_over.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Another instance has taken the service over, and shares the lock: here it is let go of, so that
/// this process is in nobody's way for as long as its last requests take.
#[cfg(target_os = "linux")]
pub(crate) fn disown() {
    if let Some(held) = held() {
        held.state.store(State::GivenUp as u8, Ordering::Release);
        // That also takes away what says that this process is the service.
        if is_still(held.lock.as_fd(), &held.file) {
            _ = sys::detach_fd(held.lock.as_fd());
        }
    }
}
