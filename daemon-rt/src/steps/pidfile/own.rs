//! The pidfile while this process holds it: its owner, and its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, lstat};
use nix::sys::uio::pread;
use nix::unistd::getpid;

use super::marks;
use super::state::{AtomicState, State};
use super::succession::{SocketFile, is_passed_on, remove_socket};
use super::write::{LONGEST_LINE, line, read_pid};
use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::sys::kept::{is_still, lost};
use crate::sys::safe_open::{ReadyPath, SafePath, remove_known, same_file};
use crate::sys::{self, retry};

/// The pidfile that this process holds. There is one, and signal handlers look at it.
static HELD: OnceLock<Held> = OnceLock::new();

/// A pidfile and its lock.
pub(super) struct Held {
    pub(super) path: ReadyPath,
    /// Never closed while the process owns the service, and never unlocked: LOCK_UN would unlock
    /// for all who share it.
    pub(super) lock: OwnedFd,
    pub(super) file: FileStat,
    directory: FileStat,
    pub(super) state: AtomicState,
    /// The path means the same as at the start. In a chroot it does not.
    reachable: AtomicBool,
    /// The control socket beside it, once there is one.
    pub(super) socket: OnceLock<SocketFile>,
    /// The number of hand-overs whose outcome is not known yet.
    pub(super) handing_over: AtomicUsize,
    /// The loss of the lock has been reported.
    loss_reported: Once,
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
        if HELD.set(self).is_err() {
            return Err(io::Error::other("this process holds another pidfile"));
        }
        // The starter and the intermediate process do not run it: they end by _exit(2).
        sys::at_exit(remove_at_exit)
    }

    fn is_owned_here(&self) -> bool {
        matches!(self.state.load(), State::Owned(pid) if pid == getpid())
    }

    /// Checks whether the service has left the lock's descriptor alone.
    pub(super) fn is_locked(&self) -> bool {
        is_still(self.lock.as_fd(), &self.file)
    }

    /// Returns the status of what is at the path.
    fn stat(&self) -> nix::Result<FileStat> {
        if self.reachable.load(Ordering::Acquire) {
            lstat(self.path.as_c_str())
        } else {
            Err(Errno::EACCES)
        }
    }

    /// Returns what is wrong with the file, before readiness is announced.
    fn problem(&self) -> Option<&'static str> {
        let state = self.state.load();
        // The end of the parent may have removed the file: this comes first.
        if let State::Locked(pid) | State::Owned(pid) = state {
            if pid != getpid() {
                return Some(
                    "it is another process's: a hook has forked, and goes on in the child, as daemon(3) does",
                );
            }
        }
        let is_there = match self.stat() {
            Ok(found) => same_file(&found, &self.file),
            Err(Errno::EACCES) => matches!(fstat(&self.lock), Ok(file) if file.st_nlink > 0),
            Err(_) => false,
        };
        if !is_there {
            return Some(
                "it was removed or replaced during the start (or a hook has called chroot(2): use the setting `chroot`)",
            );
        }
        if state != State::Shared && !names_this_process() {
            return Some("it was overwritten during the start");
        }
        None
    }
}

/// Returns the pidfile that this process holds.
pub(super) fn held() -> Option<&'static Held> {
    HELD.get()
}

/// Remembers that the file names this process, which removes it at its end.
pub(crate) fn own() {
    if let Some(held) = held() {
        held.state.own();
    }
}

/// Shows others that the service is ready.
pub(crate) fn ready() {
    if let Some(held) = held() {
        marks::set_ready(held.lock.as_fd());
    }
}

/// Checks whether this process holds a pidfile.
pub(crate) fn is_held() -> bool {
    held().is_some()
}

/// Returns the descriptor that holds the lock.
pub(crate) fn lock_descriptor() -> Option<BorrowedFd<'static>> {
    Some(held()?.lock.as_fd())
}

/// Checks whether this process owns the service that has this pidfile.
#[cfg(target_os = "linux")]
pub(crate) fn is_held_here(file: &FileStat) -> bool {
    let Some(held) = held() else { return false };
    held.is_owned_here() && same_file(&held.file, file)
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

/// Remembers that the path means nothing any more: this process is in a chroot. The file stays when
/// it ends, and its lock is free then.
pub(crate) fn leave_behind() {
    if let Some(held) = held() {
        held.reachable.store(false, Ordering::Release);
    }
}

/// Makes sure, before readiness is announced, that the path still leads to the file that names this
/// process. In a chroot, or if the user has no right to look, the file must at least not have been
/// removed.
#[inline]
pub(crate) fn verify() -> Result<(), Error> {
    let Some(held) = held() else { return Ok(()) };
    if !held.is_locked() {
        return Err(lost(held.lock.as_fd())).during(Step::WritePidfile, "the lock on the pidfile");
    }
    match held.problem() {
        Some(problem) => {
            Err(io::Error::other(problem)).during(Step::WritePidfile, held.path.as_path().display())
        }
        None => Ok(()),
    }
}

/// Removes the file, if it is still this process's and can be removed. Calls only what
/// signal-safety(7) allows: it runs in signal handlers too.
pub(crate) fn remove() {
    let Some(held) = held() else { return };
    // Without the lock it can be another instance's by now.
    if !held.is_locked() {
        return;
    }
    let is_ours = match held.state.load() {
        State::Locked(pid) => pid == getpid(),
        State::Owned(pid) => pid == getpid() && !is_passed_on(held),
        State::Shared | State::GivenUp => false,
    };
    if is_ours && matches!(held.stat(), Ok(found) if same_file(&found, &held.file)) {
        // If that fails, the lock still ends with the process, and only the lock counts.
        remove_known(&held.path, &held.directory, &held.file);
        remove_socket(held);
    }
}

/// Removes a file beside the pidfile, in the directory that was checked.
#[cfg(target_os = "linux")]
pub(crate) fn remove_beside(path: &Path) {
    if let (Some(held), Ok(found), Ok(path)) = (held(), lstat(path), ReadyPath::new(path)) {
        remove_known(&path, &held.directory, &found);
    }
}

extern "C" fn remove_at_exit() {
    warn_if_lost();
    remove();
}

/// Logs once if the service has closed or replaced the descriptor that holds the lock. From then on
/// another instance can start.
pub(crate) fn warn_if_lost() {
    let Some(held) = held() else { return };
    if held.is_owned_here() && !held.is_locked() {
        let path = held.path.as_path().display();
        let text = format!(
            "the lock on the pidfile {path} is lost: {}",
            lost(held.lock.as_fd())
        );
        held.loss_reported.call_once(|| log::error(&text));
    }
}
