//! The pidfile that this process holds, and the control socket beside it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use nix::errno::Errno;
use nix::sys::uio::pread;
use nix::unistd::getpid;

use super::line::{LONGEST_LINE, line, read_pid};
use super::state::{AtomicState, State};
use crate::sys::kept::is_still;
use crate::sys::retry;
use crate::sys::safe_open::{ReadyPath, SafePath};
use crate::sys::stat::{FileStat, lstat};

/// The pidfile that this process holds. There is one, and signal handlers look at it.
static HELD: OnceLock<Held> = OnceLock::new();

/// A pidfile and its lock.
pub(super) struct Held {
    pub(super) path: ReadyPath,
    /// Never closed while the process owns the service, and never unlocked: LOCK_UN would unlock
    /// for all who share it.
    pub(super) lock: OwnedFd,
    pub(super) file: FileStat,
    pub(super) directory: FileStat,
    pub(super) state: AtomicState,
    /// The path means the same as at the start. In a chroot it does not.
    pub(super) reachable: AtomicBool,
    /// The control socket beside it, once there is one.
    pub(super) socket: OnceLock<SocketFile>,
    /// The number of hand-overs whose outcome is not known yet.
    pub(super) handing_over: AtomicUsize,
    /// The loss of the lock has been reported.
    pub(super) loss_reported: Once,
}

impl Held {
    pub(super) fn new(
        path: &Path,
        place: &SafePath,
        lock: OwnedFd,
        file: FileStat,
        state: State,
    ) -> io::Result<Self> {
        Ok(Self {
            path: ReadyPath::new(path)?,
            lock,
            file,
            directory: place.directory()?,
            state: AtomicState::new(state),
            reachable: true.into(),
            socket: OnceLock::new(),
            handing_over: 0.into(),
            loss_reported: Once::new(),
        })
    }

    /// Makes it the one that this process holds.
    pub(super) fn remember(self) -> io::Result<()> {
        match HELD.set(self) {
            Ok(()) => Ok(()),
            Err(_) => Err(io::Error::other("this process holds another pidfile")),
        }
    }

    /// Checks whether this process owns it.
    pub(super) fn is_owned_here(&self) -> bool {
        matches!(self.state.load(), State::Owned(pid) if pid == getpid())
    }

    /// Checks whether the service has left the lock's descriptor alone.
    pub(super) fn is_locked(&self) -> bool {
        is_still(self.lock.as_fd(), &self.file)
    }

    /// Returns the status of what is at the path.
    pub(super) fn stat(&self) -> nix::Result<FileStat> {
        if self.reachable.load(Ordering::Acquire) {
            lstat(self.path.as_c_str())
        } else {
            Err(Errno::EACCES)
        }
    }
}

/// The file of the control socket, which is removed with the pidfile.
pub(crate) struct SocketFile {
    pub(super) path: ReadyPath,
    pub(super) directory: FileStat,
    pub(super) file: FileStat,
}

impl SocketFile {
    /// Describes the file. It is at this path once this process owns the service.
    pub(crate) fn new(path: ReadyPath, directory: FileStat, file: FileStat) -> Self {
        Self {
            path,
            directory,
            file,
        }
    }
}

/// Returns the pidfile that this process holds.
pub(super) fn held() -> Option<&'static Held> {
    HELD.get()
}

/// Checks whether this process holds a pidfile.
pub(crate) fn is_held() -> bool {
    held().is_some()
}

/// Returns the descriptor that holds the lock.
pub(crate) fn lock_descriptor() -> Option<BorrowedFd<'static>> {
    Some(held()?.lock.as_fd())
}

/// Checks whether the file names this process.
pub(crate) fn names_this_process() -> bool {
    let Some(lock) = lock_descriptor() else {
        return false;
    };
    let (mut buffer, mut found) = ([0; LONGEST_LINE], [0; LONGEST_LINE]);
    let line = line(getpid(), &mut buffer);
    let found = &mut found[..line.len()];
    if retry(|| pread(lock, found, 0)) == Ok(line.len()) && found == line {
        return true;
    }
    // The service may have written it again, in its own way.
    matches!(read_pid(lock), Ok(Some(named)) if named == getpid())
}
