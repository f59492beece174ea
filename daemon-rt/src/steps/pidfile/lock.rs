//! The lock of the pidfile is taken, or the start is refused.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, umask};
use nix::unistd::{Pid, geteuid, getpid};

use super::own::{Held, held};
use super::state::State;
use super::write::LONGEST_LINE;
use super::{Holder, holder, marks, marks::Life, peer};
use crate::error::Error;
use crate::step::Step;
use crate::sys;
use crate::sys::safe_open::{SafePath, same_file};

/// How long a busy lock is asked for again while it cannot be told who holds it: a prober may have
/// it for a moment, and the winner of a race needs one to write its pid.
const BUSY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The pidfile's place, between [`probe`] and [`lock`].
static PLACE: Mutex<Option<SafePath>> = Mutex::new(None);

/// What to do where there is no pidfile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Leave,
}

/// A pidfile that was opened to be locked.
struct Candidate {
    /// The daemon keeps this descriptor, which can only read: it must not be able to forge the pid.
    file: OwnedFd,
    found: FileStat,
    /// It did not exist before.
    created: bool,
}

/// What came of trying to lock a pidfile.
enum Attempt<T> {
    Locked(T),
    /// The path leads to another file by now, or to none.
    Gone,
    Busy,
}

/// Takes the lock of an existing pidfile, before the work that a refused start need not do; there
/// may be none. In a restart the lock has been handed over.
pub(crate) fn probe(path: Option<&Path>) -> Result<(), Error> {
    match path {
        Some(path) if held().is_none() => acquire(path, Missing::Leave),
        _ => Ok(()),
    }
}

/// Takes the lock, creating the file, unless [`probe`] already has it.
pub(crate) fn lock(path: Option<&Path>) -> Result<(), Error> {
    match path {
        Some(path) if held().is_none() => acquire(path, Missing::Create),
        _ => Ok(()),
    }
}

fn acquire(path: &Path, missing: Missing) -> Result<(), Error> {
    let during =
        |error: io::Error| Error::step(Step::WritePidfile, path.display().to_string(), error);
    let mut known = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = known
        .take()
        .map_or_else(|| SafePath::of(path), Ok)
        .map_err(during)?;
    let mut began = None;
    loop {
        let Some(mut candidate) = open(&place, missing).map_err(during)? else {
            let Some(pid) = without_file(path) else {
                *known = Some(place);
                return Ok(());
            };
            // One that is about to end has just removed it.
            if began.get_or_insert_with(Instant::now).elapsed() > BUSY {
                return Err(Error::already_running(Holder::WithoutFile(pid), path));
            }
            std::thread::sleep(PAUSE);
            continue;
        };
        match attempt(&place, &mut candidate).map_err(during)? {
            Attempt::Locked(writer) => {
                return hold(path, &place, candidate, writer).map_err(during);
            }
            Attempt::Gone => continue,
            Attempt::Busy => {}
        }
        // A start that waits for the running one to become ready, or to end, would do so here.
        let main = holder::main_process(candidate.file.as_fd(), path).map_err(during)?;
        if let Some(holder) = main {
            return Err(Error::already_running(holder, path));
        }
        if began.get_or_insert_with(Instant::now).elapsed() > BUSY {
            let holder = holder::other_holder(candidate.file.as_fd()).map_err(during)?;
            return Err(Error::already_running(holder, path));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The process of a service that answers on its control socket although its pidfile was removed.
fn without_file(path: &Path) -> Option<Pid> {
    match peer::listener_if_any(path)? {
        Life::Here(pid) => Some(pid),
        Life::Elsewhere | Life::Unknown => None,
    }
}

/// Opens the file to lock it; `None` where there is none, and none is to be created.
fn open(place: &SafePath, missing: Missing) -> io::Result<Option<Candidate>> {
    loop {
        match place.open(OFlag::O_RDONLY) {
            Ok((file, found)) => {
                return Ok(Some(Candidate {
                    file,
                    found,
                    created: false,
                }));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if missing == Missing::Leave => return Ok(None),
            Err(_) => {}
        }
        // With its mode from the first moment, whatever the caller's mask: another starter has to
        // be able to open it.
        let mask = umask(Mode::all().difference(MODE));
        let created = place.create(OFlag::O_RDONLY, MODE);
        umask(mask);
        match created {
            Ok((file, found)) => {
                return Ok(Some(Candidate {
                    file,
                    found,
                    created: true,
                }));
            }
            // Another starter was faster; its file is there now, unless it has been removed since.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Tries to lock the file, and makes ready to write it. One that was just created does not outlive
/// a failure.
fn attempt(place: &SafePath, candidate: &mut Candidate) -> io::Result<Attempt<OwnedFd>> {
    let result = try_attempt(place, candidate);
    // Unless another start has been faster to lock it.
    if result.is_err() && candidate.created && !marks::is_held(candidate.file.as_fd()) {
        place.remove()?;
    }
    result
}

fn try_attempt(place: &SafePath, candidate: &mut Candidate) -> io::Result<Attempt<OwnedFd>> {
    if !try_lock(place, candidate)? {
        return Ok(Attempt::Busy);
    }
    if !is_usable(place, &candidate.found)? {
        return Ok(Attempt::Gone);
    }
    prepare_writing(place, candidate).map(Attempt::Locked)
}

/// Takes the lock, without waiting; `false` where it is busy.
fn try_lock(place: &SafePath, candidate: &mut Candidate) -> io::Result<bool> {
    let mut result = sys::try_lock(candidate.file.as_fd());
    if result == Err(Errno::EBADF) {
        // NFS makes a record lock of it, for which the file has to be open for writing.
        (candidate.file, candidate.found) = place.open(OFlag::O_RDWR)?;
        result = sys::try_lock(candidate.file.as_fd());
    }
    match result {
        Ok(()) => {
            marks::set_held(candidate.file.as_fd());
            Ok(true)
        }
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whoever held the lock may have removed the file meanwhile: the lock counts only on what the path
/// leads to. And no one else may have been able to write the file, for then another can have it
/// open, and write any pid into it: such a stale file is removed.
fn is_usable(place: &SafePath, file: &FileStat) -> io::Result<bool> {
    if !place.still_is(file)? {
        return Ok(false);
    }
    // Where there is an access control list, the group's bits are its mask.
    let others = Mode::from_bits_truncate(file.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    let own = file.st_uid == geteuid().as_raw() && !others;
    if !own {
        place.remove()?;
    }
    Ok(own)
}

/// Gives the file the mode that it should have, and opens it to write the pid.
fn prepare_writing(place: &SafePath, candidate: &Candidate) -> io::Result<OwnedFd> {
    // Where it is too low the write would bring SIGXFSZ, and end this process before it could say
    // why.
    if getrlimit(Resource::RLIMIT_FSIZE)?.0 < LONGEST_LINE as libc::rlim_t {
        return Err(Errno::EFBIG.into());
    }
    if Mode::from_bits_truncate(candidate.found.st_mode) != MODE {
        fchmod(&candidate.file, MODE)?;
    }
    let (writer, found) = place.open(OFlag::O_WRONLY)?;
    if !same_file(&found, &candidate.found) {
        return Err(io::Error::other("it was replaced"));
    }
    Ok(writer)
}

fn hold(path: &Path, place: &SafePath, candidate: Candidate, writer: OwnedFd) -> io::Result<()> {
    Held::new(
        path,
        place,
        candidate.file,
        candidate.found,
        State::Locked(getpid()),
        Some(writer),
    )?
    .remember()
}

/// Remembers a file whose lock an older instance shares with this process.
pub(crate) fn take_over(path: &Path, lock: OwnedFd) -> io::Result<()> {
    let file = fstat(&lock)?;
    Held::new(path, &SafePath::of(path)?, lock, file, State::Shared, None)?.remember()
}

/// Removes a pidfile that nobody holds, and has `also` done while no start can have the lock.
#[cfg(target_os = "linux")]
pub(crate) fn remove_stale(path: &Path, also: impl FnOnce()) -> io::Result<()> {
    let place = SafePath::of(path)?;
    let Some(mut candidate) = open(&place, Missing::Leave)? else {
        return Ok(());
    };
    if try_lock(&place, &mut candidate)? && is_usable(&place, &candidate.found)? {
        also();
        place.remove()?;
    }
    Ok(())
}
