//! The pidfile while this process holds it: whose it is, and when it is removed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, lstat};
use nix::sys::uio::pread;
use nix::unistd::{Pid, getpid};

use super::marks;
use super::succession::{SocketFile, is_passed_on, remove_socket};
use super::write::{line, read_pid};
use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::sys::kept::{is_still, lost};
use crate::sys::safe_open::{ReadyPath, SafePath, remove_known, same_file};
use crate::sys::{self, retry};

/// The pidfile that this process holds. There is one, and signal handlers look at it.
static HELD: OnceLock<Held> = OnceLock::new();

pub(super) struct Held {
    pub(super) path: ReadyPath,
    /// Never closed while the process owns the service, and never unlocked: LOCK_UN would unlock
    /// for all who share it.
    pub(super) lock: OwnedFd,
    /// To write the pid, and closed then. Opened with the lock: in a process that was just forked
    /// it costs more.
    writer: Mutex<Option<OwnedFd>>,
    pub(super) file: FileStat,
    directory: FileStat,
    /// A [`State`].
    pub(super) state: AtomicU8,
    /// In whose memory the state counts. A process that the service forks has a copy, and removes
    /// nothing.
    owner: AtomicI32,
    /// The path means the same as at the start: not from inside a chroot.
    reachable: AtomicBool,
    /// The service does not detach.
    foreground: AtomicBool,
    /// The control socket beside it, once there is one.
    pub(super) socket: OnceLock<SocketFile>,
    /// How many hand-overs are under way of which it is not known yet what has come of them.
    pub(super) handing_over: AtomicUsize,
}

/// Whose the file is.
///
/// | state | the file | removed by | next |
/// | --- | --- | --- | --- |
/// | `Locked` | names nobody of this start yet | the process that has locked it: the starter | `Owned`, when the daemon has written its pid |
/// | `Shared` | names an older instance, which shares the lock | that one | `Owned`, when the restart is committed |
/// | `Owned` | names this process | this process | `GivenUp`, when another restart is committed |
/// | `GivenUp` | names a newer instance | that one | |
///
/// The next restart may be faster than the instance that has just become the owner: so `Shared` can
/// be followed by `GivenUp` as well, and nothing follows that.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    Locked,
    Shared,
    Owned,
    GivenUp,
}

impl Held {
    pub(super) fn new(
        path: &Path,
        place: &SafePath,
        lock: OwnedFd,
        file: FileStat,
        state: State,
        writer: Option<OwnedFd>,
    ) -> io::Result<Self> {
        Ok(Self {
            path: ReadyPath::new(path)?,
            lock,
            writer: writer.into(),
            file,
            directory: place.directory()?,
            state: AtomicU8::new(state as u8),
            owner: getpid().as_raw().into(),
            reachable: true.into(),
            foreground: false.into(),
            socket: OnceLock::new(),
            handing_over: 0.into(),
        })
    }

    pub(super) fn remember(self) -> io::Result<()> {
        HELD.set(self)
            .map_err(|_| io::Error::other("this process holds another pidfile"))?;
        // Where the starter or the intermediate process ends, that is by _exit(2).
        sys::at_exit(remove_at_exit)
    }

    pub(super) fn take_writer(&self) -> Option<OwnedFd> {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Says that this process is the service, and how it runs.
    pub(super) fn mark(&self) {
        marks::set_process(self.lock.as_fd());
        if self.foreground.load(Ordering::Relaxed) {
            marks::set_foreground(self.lock.as_fd());
        }
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state.load(Ordering::Acquire) == state as u8
    }
}

pub(super) fn held() -> Option<&'static Held> {
    HELD.get()
}

/// From here on the file names this process, which removes it at its end.
pub(crate) fn own() {
    let Some(held) = held() else { return };
    // Before the state, which says that it counts.
    held.owner.store(getpid().as_raw(), Ordering::Release);
    let owned = |state| (state != State::GivenUp as u8).then_some(State::Owned as u8);
    _ = held
        .state
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, owned);
}

/// The service does not detach, and says so when it writes its pid.
pub(crate) fn in_foreground() {
    if let Some(held) = held() {
        held.foreground.store(true, Ordering::Relaxed);
    }
}

/// The service is ready, and others can see it.
pub(crate) fn ready() {
    if let Some(held) = held() {
        marks::set_ready(held.lock.as_fd());
    }
}

/// Whether this process holds a pidfile.
pub(crate) fn is_held() -> bool {
    held().is_some()
}

/// The descriptor that holds the lock.
pub(crate) fn lock_descriptor() -> Option<BorrowedFd<'static>> {
    held().map(|held| held.lock.as_fd())
}

/// Whether this process owns the service that has this pidfile.
#[cfg(target_os = "linux")]
pub(crate) fn is_held_here(file: &FileStat) -> bool {
    let Some(held) = held() else { return false };
    held.is(State::Owned)
        && held.owner.load(Ordering::Acquire) == getpid().as_raw()
        && same_file(&held.file, file)
}

/// Whether the file names this process.
pub(crate) fn names_this_process() -> bool {
    let (mut buffer, mut found) = ([0; 12], [0; 12]);
    let line = line(getpid(), &mut buffer);
    let found = &mut found[..line.len()];
    let Some(lock) = lock_descriptor() else {
        return false;
    };
    let as_written = retry(|| pread(lock, found, 0)) == Ok(line.len()) && found == line;
    // The service may have written it once more, in its own way.
    as_written || read_pid(lock).is_ok_and(|named| named == Some(Pid::this()))
}

/// After a chroot(2) the path means nothing any more: the file stays at exit, with its lock free.
pub(crate) fn left_behind() {
    if let Some(held) = held() {
        held.reachable.store(false, Ordering::Release);
    }
}

/// Makes sure, before readiness is announced, that the path still leads to the file that names this
/// process; after a chroot, or where the user may not look, at least that the file has not been
/// removed.
pub(crate) fn verify() -> Result<(), Error> {
    let Some(held) = held() else { return Ok(()) };
    let found = if held.reachable.load(Ordering::Acquire) {
        lstat(held.path.as_c_str())
    } else {
        Err(Errno::EACCES)
    };
    let there = match found {
        Ok(found) => same_file(&found, &held.file),
        Err(Errno::EACCES) => fstat(&held.lock).is_ok_and(|file| file.st_nlink > 0),
        Err(_) => false,
    };
    if !is_still(held.lock.as_fd(), &held.file) {
        return Err(lost(held.lock.as_fd())).during(Step::WritePidfile, "the lock on the pidfile");
    }
    // The parent's end may have removed it.
    let problem = if !held.is(State::Shared)
        && held.owner.load(Ordering::Acquire) != getpid().as_raw()
    {
        "it is another process's: a hook has forked, and goes on in the child, as daemon(3) does"
    } else if !there {
        "it was removed or replaced during the start (or a hook has called chroot(2): use the setting `chroot`)"
    } else if !held.is(State::Shared) && !names_this_process() {
        "it was overwritten during the start"
    } else {
        return Ok(());
    };
    let error = io::Error::other(problem);
    Err(Error::step(
        Step::WritePidfile,
        held.path.as_path().display().to_string(),
        error,
    ))
}

/// Removes the file, if it is still this process's and can be removed. Only what signal-safety(7)
/// allows is called here: it runs in signal handlers too.
pub(crate) fn remove() {
    let Some(held) = held() else { return };
    // Without the lock it can be another instance's by now.
    if is_still(held.lock.as_fd(), &held.file)
        && held.owner.load(Ordering::Acquire) == getpid().as_raw()
        && (held.is(State::Locked) || held.is(State::Owned) && !is_passed_on(held))
        && held.reachable.load(Ordering::Acquire)
        && lstat(held.path.as_c_str()).is_ok_and(|found| same_file(&found, &held.file))
    {
        // Where that fails: the lock, which ends with the process, is what counts.
        remove_known(&held.path, &held.directory, &held.file);
        remove_socket(held);
    }
}

/// Removes a file beside the pidfile, in the directory that was found good.
#[cfg(target_os = "linux")]
pub(crate) fn remove_beside(path: &Path) {
    let (Some(held), Ok(found), Ok(path)) = (held(), lstat(path), ReadyPath::new(path)) else {
        return;
    };
    remove_known(&path, &held.directory, &found);
}

extern "C" fn remove_at_exit() {
    warn_if_lost();
    remove();
}

/// Says so, once, if the service has closed or replaced the descriptor that holds the lock. From
/// then on another instance can start.
pub(crate) fn warn_if_lost() {
    static WARNED: Once = Once::new();
    let Some(held) = held() else { return };
    let lock = held.lock.as_fd();
    let owned = held.is(State::Owned) && held.owner.load(Ordering::Acquire) == getpid().as_raw();
    if owned && !is_still(lock, &held.file) {
        let path = held.path.as_path().display();
        let text = format!("the lock on the pidfile {path} is lost: {}", lost(lock));
        WARNED.call_once(|| log::error(&text));
    }
}
