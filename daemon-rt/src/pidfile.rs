//! Step 12: the pidfile. Its lock is the truth, held for the service's life; the pid in it is a hint.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, lstat, stat, umask};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Pid, ftruncate, geteuid, getpid, read};

use crate::detach::Step;
use crate::error::{During, Error};
use crate::inherited::{FIRST, retry};
use crate::trusted::{Place, ReadyPath, remove_known, same_file};
use crate::{handover, shutdown, sys};

#[cfg(target_os = "linux")]
mod marks;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
pub(crate) use marks::restart_lock;

/// How long a busy lock is asked for again while nobody can be named who holds it: a prober may have it for a moment,
/// and the winner of a race needs one to write its pid.
const BUSY: Duration = Duration::from_secs(1);
/// The same while a process is named of which it cannot be told whether it holds the lock.
const DOUBT: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The pid of no process.
const NOBODY: i32 = 0;
/// The same, once another instance has taken the service over.
const GIVEN_UP: i32 = -1;

/// The pidfile's place, between [`probe`] and [`lock`].
static PLACE: Mutex<Option<Place>> = Mutex::new(None);

/// The pidfile that this process holds. There is one, and signal handlers look at it.
static HELD: OnceLock<Held> = OnceLock::new();

struct Held {
    path: ReadyPath,
    /// Never closed while the process owns the service, and never unlocked: LOCK_UN would unlock for all who share it.
    lock: OwnedFd,
    /// To write the pid, and closed then. Opened with the lock: in a process that was just forked it costs more.
    writer: Mutex<Option<OwnedFd>>,
    file: FileStat,
    directory: FileStat,
    /// Who removes the file at exit: the starter, until the daemon has written its pid. A process that the service
    /// forks is neither.
    owner: AtomicI32,
    /// Whether an older instance still owns the service, and this process is to replace it: then the pid is not this
    /// process's to write.
    taken_over: bool,
    /// Whether the file names, or has named, this process: before that nobody can take the service over.
    named: AtomicBool,
    /// Whether the path means the same as at the start: not from inside a chroot.
    reachable: AtomicBool,
}

/// Takes the lock of an existing pidfile, before the work that a refused start need not do; there may be none. In a
/// restart the lock has been handed over.
pub(crate) fn probe(path: Option<&Path>) -> Result<(), Error> {
    path.filter(|_| HELD.get().is_none()).map_or(Ok(()), |path| acquire(path, false))
}

/// Takes the lock, creating the file, unless [`probe`] already has it.
pub(crate) fn lock(path: Option<&Path>) -> Result<(), Error> {
    path.filter(|_| HELD.get().is_none()).map_or(Ok(()), |path| acquire(path, true))
}

fn acquire(path: &Path, create: bool) -> Result<(), Error> {
    let during = |error: io::Error| Error::step(Step::WritePidfile, path.display().to_string(), error);
    let mut known = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = known.take().map_or_else(|| Place::of(path), Ok).map_err(during)?;
    let mut began = None;
    let holder = loop {
        let Some((file, found)) = open(&place, create).map_err(during)? else {
            *known = Some(place);
            return Ok(());
        };
        let locked = try_lock(&file).map_err(during)?;
        // Whoever held it may have removed the file meanwhile: the lock counts only on what the path leads to.
        if locked
            && place.still_is(&found).map_err(|error| during(error.into()))?
            && owned_or_removed(&place, &found).map_err(during)?
        {
            return hold(path, &place, file, found).map_err(during);
        }
        let named = if locked { None } else { named_holder(&file, &found).map_err(during)? };
        let waited = began.get_or_insert_with(Instant::now).elapsed();
        if waited > BUSY || named.is_some_and(|(_, certain)| certain || waited > DOUBT) {
            break named.map(|(pid, _)| pid);
        }
        if !locked {
            std::thread::sleep(PAUSE);
        }
    };
    Err(Error::already_running(holder, path))
}

/// Opens the file to lock it, which needs no more than reading: the daemon keeps this descriptor, and must not be able
/// to forge the pid.
fn open(place: &Place, create: bool) -> io::Result<Option<(OwnedFd, FileStat)>> {
    loop {
        match place.open(OFlag::O_RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map(Some),
        }
        // With its mode from the first moment, whatever the caller's mask: another starter has to be able to open it.
        let mask = umask(Mode::all().difference(MODE));
        let created = place.create(OFlag::O_RDONLY, MODE);
        umask(mask);
        match created {
            // Another starter was faster; its file is there now, unless it has been removed since.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(Some),
        }
    }
}

fn try_lock(file: &OwnedFd) -> io::Result<bool> {
    match sys::try_lock(file.as_fd()) {
        Ok(()) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the file belongs to this user. A stale one that an older service gave away is removed: its owner could
/// write any pid into it.
fn owned_or_removed(place: &Place, file: &FileStat) -> io::Result<bool> {
    let own = file.st_uid == geteuid().as_raw();
    if !own {
        place.remove()?;
    }
    Ok(own)
}

/// Remembers the file as this process's, with the mode that it should have.
fn hold(path: &Path, place: &Place, lock: OwnedFd, file: FileStat) -> io::Result<()> {
    if Mode::from_bits_truncate(file.st_mode) != MODE {
        fchmod(&lock, MODE)?;
    }
    let (writer, found) = place.open(OFlag::O_WRONLY)?;
    if !same_file(&found, &file) {
        return Err(io::Error::other("it was replaced"));
    }
    set_held(path, place, lock, Some(writer), file, getpid().as_raw())
}

/// Remembers a file whose lock an older instance shares with this process.
pub(crate) fn take_over(path: &Path, lock: OwnedFd) -> io::Result<()> {
    let file = fstat(&lock)?;
    set_held(path, &Place::of(path)?, lock, None, file, NOBODY)
}

fn set_held(
    path: &Path,
    place: &Place,
    lock: OwnedFd,
    writer: Option<OwnedFd>,
    file: FileStat,
    owner: i32,
) -> io::Result<()> {
    let held = Held {
        path: ReadyPath::new(path)?,
        lock,
        taken_over: writer.is_none(),
        writer: writer.into(),
        file,
        directory: place.directory()?,
        owner: owner.into(),
        named: false.into(),
        reachable: true.into(),
    };
    HELD.set(held).map_err(|_| io::Error::other("this process holds another pidfile"))?;
    // Where the starter or the intermediate process ends, that is by _exit(2).
    sys::at_exit(remove_at_exit)
}

/// Writes the pid of this process, the daemon. The file is never empty meanwhile.
pub(crate) fn write() -> Result<(), Error> {
    let Some(held) = HELD.get() else { return Ok(()) };
    // First: in the foreground nobody else would remove it if a signal came now.
    shutdown::tidy_up_when_ended().during(Step::WritePidfile, "its removal when a signal comes")?;
    let writer = held.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(writer) = writer {
        write_to(&writer, &held.file).during(Step::WritePidfile, held.path.as_path().display())?;
        own();
    }
    Ok(())
}

fn write_to(pidfile: &OwnedFd, before: &FileStat) -> io::Result<()> {
    let mut buffer = [0; 12];
    let line = line(getpid(), &mut buffer);
    if retry(|| pwrite(pidfile, line, 0))? < line.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let end = libc::off_t::try_from(line.len()).expect("it is short");
    if before.st_size > end {
        retry(|| ftruncate(pidfile, end))?;
    }
    Ok(())
}

/// What stands in a pidfile. In a process that was just forked each page that is touched counts: hence by hand.
fn line(pid: Pid, buffer: &mut [u8; 12]) -> &[u8] {
    let mut start = buffer.len() - 1;
    buffer[start] = b'\n';
    let mut rest = pid.as_raw().unsigned_abs();
    while rest > 0 {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    &buffer[start..]
}

/// From here on it is this process that removes the file at its end.
pub(crate) fn own() {
    let own = |owner| (owner != GIVEN_UP).then(|| getpid().as_raw());
    if let Some(held) = HELD.get() {
        held.named.store(true, Ordering::Release);
        // The next restart may have been faster than this process in getting here.
        _ = held.owner.fetch_update(Ordering::AcqRel, Ordering::Acquire, own);
    }
}

/// Another instance has taken the service over, and shares the lock: here it is let go of, so that this process is in
/// nobody's way for as long as its last requests take.
#[cfg(target_os = "linux")]
pub(crate) fn disown() {
    if let Some(held) = HELD.get() {
        held.owner.store(GIVEN_UP, Ordering::Release);
        _ = sys::let_go(held.lock.as_fd());
    }
}

/// Whether another instance has taken the service over.
#[cfg(target_os = "linux")]
pub(crate) fn is_disowned() -> bool {
    HELD.get().is_some_and(|held| held.owner.load(Ordering::Acquire) == GIVEN_UP)
}

/// The descriptor that holds the lock.
pub(crate) fn lock_descriptor() -> Option<BorrowedFd<'static>> {
    HELD.get().map(|held| held.lock.as_fd())
}

/// Whether the file names this process.
pub(crate) fn names_this_process() -> bool {
    let (mut buffer, mut found) = ([0; 12], [0; 12]);
    let line = line(getpid(), &mut buffer);
    let found = &mut found[..line.len()];
    let Some(lock) = lock_descriptor() else { return false };
    let as_written = retry(|| pread(lock, found, 0)) == Ok(line.len()) && found == line;
    // The service may have written it once more, in its own way.
    as_written || read_pid(lock).is_ok_and(|named| named == Some(getpid()))
}

/// After a chroot(2) the path means nothing any more: the file stays at exit, with its lock free.
pub(crate) fn left_behind() {
    if let Some(held) = HELD.get() {
        held.reachable.store(false, Ordering::Release);
    }
}

/// Makes sure, before readiness is announced, that the path still leads to the file that names this process; after a
/// chroot, or where the user may not look, at least that the file has not been removed.
pub(crate) fn verify() -> Result<(), Error> {
    let Some(held) = HELD.get() else { return Ok(()) };
    let found = if held.reachable.load(Ordering::Acquire) { lstat(held.path.as_c_str()) } else { Err(Errno::EACCES) };
    let there = match found {
        Ok(found) => same_file(&found, &held.file),
        Err(Errno::EACCES) => fstat(&held.lock).is_ok_and(|file| file.st_nlink > 0),
        Err(_) => false,
    };
    // While an older instance hands over, the file names that one.
    let problem = if !there {
        "it was removed or replaced during the start"
    } else if !held.taken_over && !names_this_process() {
        "it was overwritten during the start"
    } else {
        return Ok(());
    };
    let error = io::Error::other(problem);
    Err(Error::step(Step::WritePidfile, held.path.as_path().display().to_string(), error))
}

/// Removes the file, if it is still this process's and may be removed. Only what signal-safety(7) allows is called
/// here: it runs in signal handlers too.
pub(crate) fn remove() {
    let Some(held) = HELD.get() else { return };
    if held.owner.load(Ordering::Acquire) == getpid().as_raw()
        && held.reachable.load(Ordering::Acquire)
        && lstat(held.path.as_c_str()).is_ok_and(|found| same_file(&found, &held.file))
        && !(held.named.load(Ordering::Acquire) && handover::is_passed_on(held.lock.as_fd()))
    {
        // Where that fails: the lock, which ends with the process, is what counts.
        remove_known(&held.path, &held.directory, &held.file);
        handover::remove_socket();
    }
}

extern "C" fn remove_at_exit() {
    remove();
}

/// The process that a locked pidfile names, and whether it is certain that it holds the lock; `None` if it does not.
fn named_holder(file: &OwnedFd, found: &FileStat) -> io::Result<Option<(Pid, bool)>> {
    let Some(pid) = read_pid(file)? else { return Ok(None) };
    if let Some(holds) = holds_lock(pid, found) {
        return Ok(holds.then_some((pid, true)));
    }
    // No right to look, or no /proc: then that it lives must do. Whom an ordinary user may not even signal is another
    // user's process, and has nothing to do with this user's file.
    let may_hold = match nix::sys::signal::kill(pid, None) {
        Ok(()) => true,
        Err(error) => error == Errno::EPERM && geteuid().is_root(),
    };
    Ok(may_hold.then_some((pid, false)))
}

/// The pid in the first line of a pidfile; `None` for anything else.
pub(crate) fn read_pid(file: impl AsFd) -> io::Result<Option<Pid>> {
    const LONGEST: usize = 32;
    let mut start = [0; LONGEST];
    let length = retry(|| pread(&file, &mut start, 0))?;
    // Cut off, the beginning of a number would be another number.
    let whole = length < LONGEST || start.contains(&b'\n');
    Ok(parse_pid(&start[..length]).filter(|_| whole))
}

fn parse_pid(text: &[u8]) -> Option<Pid> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    let pid: i32 = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    (pid > 0).then(|| Pid::from_raw(pid))
}

/// Whether a process has this file open and locked; `None` if that cannot be told.
pub(crate) fn holds_lock(pid: Pid, file: &FileStat) -> Option<bool> {
    let descriptors = format!("/proc/{pid}/fd");
    let is_it = |descriptor: &Path| {
        stat(descriptor).is_ok_and(|open| same_file(&open, file))
            && descriptor.file_name().is_some_and(|fd| is_lock(pid, fd))
    };
    // A daemon opens it early: to list the directory takes longer.
    if (FIRST..FIRST + 3).any(|fd| is_it(&Path::new(&descriptors).join(fd.to_string()))) {
        return Some(true);
    }
    match std::fs::read_dir(&descriptors) {
        Ok(directory) => Some(directory.flatten().any(|entry| is_it(&entry.path()))),
        // With /proc there, no such directory means no such process.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new("/proc/self").exists() => Some(false),
        Err(_) => None,
    }
}

/// Whether the flock(2) of a file is held through this descriptor.
fn is_lock(pid: Pid, descriptor: &OsStr) -> bool {
    let mut info = [0; 1024];
    let path = format!("/proc/{pid}/fdinfo/{}", descriptor.to_string_lossy());
    let length = File::open(path).and_then(|file| Ok(retry(|| read(&file, &mut info))?)).unwrap_or(0);
    let mut lines = info[..length].split(|&byte| byte == b'\n');
    lines.any(|line| line.starts_with(b"lock:") && line.windows(5).any(|word| word == b"FLOCK"))
}

/// Whether anyone has locked the file, as /proc/locks tells: taking the lock to test it would make a start fail.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    let inode = format!(":{}", fstat(file)?.st_ino);
    let locks = std::fs::read_to_string("/proc/locks")?;
    // 1: FLOCK  ADVISORY  WRITE 123 08:01:4567 0 EOF
    Ok(locks.lines().any(|lock| {
        let mut fields = lock.split_whitespace();
        fields.nth(1) == Some("FLOCK") && fields.nth(3).is_some_and(|file| file.ends_with(&inode))
    }))
}
