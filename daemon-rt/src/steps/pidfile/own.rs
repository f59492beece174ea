//! The pidfile from the moment when this process holds it: owned, verified, removed.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::unistd::getpid;

use super::held::{Held, held, names_this_process};
use super::marks;
use super::state::State;
use super::succession::{is_passed_on, remove_socket};
use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::sys;
use crate::sys::kept::lost;
use crate::sys::safe_open::{ReadyPath, remove_known, same_file};
use crate::sys::stat::{FileStat, fstat, lstat};

/// Holds a pidfile, until the end of this process.
pub(super) fn hold(held: Held) -> io::Result<()> {
    held.remember()?;
    // The starter and the intermediate process do not run it: they end by _exit(2).
    sys::at_exit(remove_at_exit)
}

/// Remembers that the file names this process, which removes it at its end.
pub(crate) fn own() {
    if let Some(held) = held() {
        held.state.own();
    }
}

/// Shows others that the service is ready.
pub(crate) fn ready() -> Result<(), Error> {
    let Some(held) = held() else { return Ok(()) };
    marks::set_ready(held.lock.as_fd()).during(Step::WritePidfile, held.path.as_path().display())
}

/// Checks whether this process owns the service that has this pidfile.
pub(super) fn is_held_by_start(file: &FileStat) -> bool {
    let Some(held) = held() else { return false };
    held.is_owned_here() && same_file(&held.file, file)
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
    match problem(held) {
        Some(problem) => {
            Err(io::Error::other(problem)).during(Step::WritePidfile, held.path.as_path().display())
        }
        None => Ok(()),
    }
}

/// Returns what is wrong with the file, before readiness is announced.
fn problem(held: &Held) -> Option<&'static str> {
    let state = held.state.load();
    // The end of the parent may have removed the file: this comes first.
    if let State::Locked(pid) | State::Owned(pid) = state {
        if pid != getpid() {
            return Some(
                "it is another process's: a hook has forked, and goes on in the child, as daemon(3) does",
            );
        }
    }
    let is_there = match held.stat() {
        Ok(found) => same_file(&found, &held.file),
        Err(Errno::EACCES) => matches!(fstat(&held.lock), Ok(file) if file.st_nlink > 0),
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

/// Removes the file, if it is still this process's and can be removed. Calls only what
/// signal-safety(7) allows: it runs in signal handlers too.
pub(crate) fn remove() {
    if let Some(held) = held() {
        held.remove();
    }
}

impl Held {
    /// Removes the file, if it is still this process's and can be removed. Calls only what
    /// signal-safety(7) allows.
    pub(super) fn remove(&self) {
        // Without the lock it can be another instance's by now.
        if !self.is_locked() {
            return;
        }
        let is_ours = match self.state.load() {
            State::Locked(pid) => pid == getpid(),
            State::Owned(pid) => pid == getpid() && !is_passed_on(self),
            // The restart may have been committed just now.
            State::Shared => names_this_process() && !is_passed_on(self),
            State::GivenUp => false,
        };
        if is_ours && matches!(self.stat(), Ok(found) if same_file(&found, &self.file)) {
            // If that fails, the lock still ends with the process, and only the lock counts.
            remove_known(&self.path, &self.directory, &self.file);
            remove_socket(self);
        }
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
