//! Takes the lock of the pidfile, or refuses the start.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::{Pid, geteuid, getpid};

use super::held::{Held, held};
use super::holder::{self, Holder};
use super::line::{self, LONGEST_LINE};
use super::marks::{self, Life};
use super::others::{BUSY, Others};
use super::own::hold;
use super::peer;
use super::state::State;
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys;
use crate::sys::safe_open::{SafePath, same_file};
use crate::sys::stat::{FileStat, fstat};

const PAUSE: Duration = Duration::from_millis(5);
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The claim of a start on the pidfile, until its pid is written.
pub(crate) enum Claim {
    /// There is nothing to write: no pidfile is wanted, or an older instance shares its lock.
    Settled,
    /// There is no directory for it yet.
    Nowhere(PathBuf),
    /// There is no file yet.
    Missing { path: PathBuf, place: SafePath },
    /// It is locked, and this descriptor writes the pid. It is opened with the lock: opening takes
    /// longer in a process that was just forked.
    Locked(OwnedFd),
    /// Another instance runs, and is ready: this start leaves the service to it.
    LeftToAnother,
}

/// The action if there is no pidfile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    /// There are other threads, which share the umask.
    CreateAmongThreads,
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

/// The result of an attempt to lock a pidfile.
enum Attempt<T> {
    Locked(T),
    /// The path leads to another file now, or to none.
    Gone,
    Busy,
}

impl Claim {
    /// Takes the lock of an existing pidfile, before the work that a refused start need not do. In a
    /// restart the lock has been handed over.
    pub(crate) fn probe(path: Option<&Path>, others: &Others) -> Result<Self, Error> {
        match path {
            Some(path) if held().is_none() => match SafePath::of(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok(Self::Nowhere(path.to_owned()))
                }
                place => {
                    let place = place.during(Step::WritePidfile, path.display())?;
                    acquire(path.to_owned(), place, Missing::Leave, others)
                }
            },
            _ => Ok(Self::Settled),
        }
    }

    /// Takes the lock, creating the file, unless [`Self::probe`] has taken it.
    pub(crate) fn lock(self, others: &Others) -> Result<Self, Error> {
        match self {
            Self::Missing { path, place } => acquire(path, place, Missing::Create, others),
            Self::Nowhere(path) => {
                let place = SafePath::of(&path).during(Step::WritePidfile, path.display())?;
                acquire(path, place, Missing::Create, others)
            }
            locked => Ok(locked),
        }
    }
}

fn acquire(
    path: PathBuf,
    place: SafePath,
    missing: Missing,
    others: &Others,
) -> Result<Claim, Error> {
    let result = take(&path, &place, missing, others);
    match result.during(Step::WritePidfile, path.display())? {
        Ok(Some((held, writer))) => {
            hold(held).during(Step::WritePidfile, path.display())?;
            Ok(Claim::Locked(writer))
        }
        Ok(None) => Ok(Claim::Missing { path, place }),
        Err(holder) => {
            others.leave_to(holder, &path)?;
            Ok(Claim::LeftToAnother)
        }
    }
}

/// Takes the lock, and returns it with a descriptor that writes the file; or its holder. `None` if
/// there is no file.
pub(super) fn take(
    path: &Path,
    place: &SafePath,
    missing: Missing,
    others: &Others,
) -> io::Result<Result<Option<(Held, OwnedFd)>, Holder>> {
    let mut began = Instant::now();
    loop {
        let is_over = began.elapsed() > BUSY;
        let Some(mut candidate) = open(place, missing)? else {
            match without_file(path) {
                None => return Ok(Ok(None)),
                Some(pid) if is_over => return Ok(Err(Holder::WithoutFile(pid))),
                // One that is about to end has just removed it.
                Some(_) => std::thread::sleep(PAUSE),
            }
            continue;
        };
        match attempt(place, &mut candidate)? {
            Attempt::Locked(writer) => {
                let state = State::Locked(getpid());
                let held = Held::new(path, place, candidate.file, candidate.found, state)?;
                return Ok(Ok(Some((held, writer))));
            }
            Attempt::Gone => continue,
            Attempt::Busy => {}
        }
        let file = candidate.file.as_fd();
        match holder::main_process(file, path)? {
            Some(Holder::Unnamed) if others.wait_for_pid(began) => std::thread::sleep(PAUSE),
            Some(main) if others.wait_for(main, file) => began = Instant::now(),
            Some(main) => return Ok(Err(main)),
            None if is_over => return holder::other_holder(file).map(Err),
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// Finds the process of a service whose pidfile was removed, by its control socket.
fn without_file(path: &Path) -> Option<Pid> {
    match peer::listener_if_any(path)? {
        Life::Here(pid) => Some(pid),
        Life::Elsewhere | Life::Unknown => None,
    }
}

/// Opens the file to lock it; `None` if there is none, and none is to be created.
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
        let created = if missing == Missing::CreateAmongThreads {
            place.create(OFlag::O_RDONLY, MODE)
        } else {
            // It has its mode from the first moment, whatever the caller's umask: another starter
            // must be able to open it.
            let mask = umask(Mode::all().difference(MODE));
            let created = place.create(OFlag::O_RDONLY, MODE);
            umask(mask);
            created
        };
        match created {
            Ok((file, found)) => {
                return Ok(Some(Candidate {
                    file,
                    found,
                    created: true,
                }));
            }
            // Another starter was faster. Its file is there now, unless it was removed since.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Tries to lock the file, and opens it to write the pid. A file that was just created is removed if
/// that fails.
fn attempt(place: &SafePath, candidate: &mut Candidate) -> io::Result<Attempt<OwnedFd>> {
    let result = try_attempt(place, candidate);
    // Another start may have been faster to lock it.
    if result.is_err() && candidate.created && !marks::is_held(candidate.file.as_fd()) {
        place.remove()?;
    }
    result
}

fn try_attempt(place: &SafePath, candidate: &mut Candidate) -> io::Result<Attempt<OwnedFd>> {
    if !try_lock(place, candidate)? {
        return Ok(Attempt::Busy);
    }
    if !line::may_be_pidfile(&candidate.file, &candidate.found)? {
        return Err(io::Error::other(
            "it does not begin with a pid, and is longer than a pidfile: is the path right? Then remove the file",
        ));
    }
    if !is_usable(place, &candidate.found)? {
        return Ok(Attempt::Gone);
    }
    prepare_writing(place, candidate).map(Attempt::Locked)
}

/// Takes the lock without waiting; `false` if it is busy.
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

/// Checks a locked file. Its last holder may have removed it: the lock counts only on the file that
/// the path leads to. If other users could write the file, one may have it open, and write any pid
/// to it: such a stale file is removed.
fn is_usable(place: &SafePath, file: &FileStat) -> io::Result<bool> {
    if !place.still_is(file)? {
        return Ok(false);
    }
    // The group's bits are the mask of an access control list, if there is one.
    let others = Mode::from_bits_truncate(file.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    let own = file.st_uid == geteuid().as_raw() && !others;
    if !own {
        place.remove()?;
    }
    Ok(own)
}

/// Gives the file its mode, and opens it to write the pid.
fn prepare_writing(place: &SafePath, candidate: &Candidate) -> io::Result<OwnedFd> {
    // With too low a limit the write would send SIGXFSZ, and end this process without a word.
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

/// Remembers a file whose lock an older instance shares with this process.
pub(crate) fn take_over(path: &Path, lock: OwnedFd) -> io::Result<()> {
    let file = fstat(&lock)?;
    let place = SafePath::of(path)?;
    hold(Held::new(path, &place, lock, file, State::Shared)?)
}

/// Removes a pidfile that is not held, and calls `also` while no start can have the lock.
#[cfg(target_os = "linux")]
pub(crate) fn remove_stale(path: &Path, also: impl FnOnce()) -> io::Result<()> {
    let place = SafePath::of(path)?;
    let Some(mut candidate) = open(&place, Missing::Leave)? else {
        return Ok(());
    };
    if try_lock(&place, &mut candidate)?
        && line::may_be_pidfile(&candidate.file, &candidate.found)?
        && is_usable(&place, &candidate.found)?
    {
        also();
        place.remove()?;
    }
    Ok(())
}
