//! Locks on single bytes of the pidfile, far behind its content.
//!
//! They show what flock(2) cannot: who holds it, and in which state. Asking for one takes no lock,
//! hinders no start, and needs neither /proc nor a right over the holder. The kernel keeps them by
//! inode.
//!
//! | byte | locked by | means |
//! | --- | --- | --- |
//! | `FOREGROUND` | the main process for itself, for reading | it has not detached: its parent waits for its end |
//! | `RESTART` | the restarter's open file description, for writing | a restart is under way |
//! | `STARTING` | the description that holds the flock(2), for reading | the service is not ready yet |
//! | `HELD` | the same | a process of the service holds the flock(2) |
//! | `BASE` + pid | the main process for itself, for reading | this process lives, and is the service |
//! | `OLD` + pid | an older instance for itself, for reading | this process lives, and has handed the service over |
//! | `KEPT` + pid | the same | it lives on: it has not been told to end |
//! | `SESSION` + id | the description that holds the flock(2), for reading | this was the session of an older instance, and had processes at the last hand-over |
//!
//! The lock of a description lasts as long as a process has it open. The lock of a process ends
//! with it, and also when it closes any other descriptor of the file: so a byte that is not locked
//! proves nothing.
//!
//! A file system may have no such locks, or (NFS) confuse them with the flock(2). Then there are no
//! marks.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::poll::ppoll;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, getpid};

/// All bytes are below 2^31, the limit of a 32-bit `off_t`.
const BASE: libc::off_t = 1 << 24;
const HELD: libc::off_t = BASE - 1;
const STARTING: libc::off_t = BASE - 2;
const RESTART: libc::off_t = BASE - 3;
const FOREGROUND: libc::off_t = BASE - 4;
/// The highest pid of Linux.
const MOST_PIDS: libc::pid_t = 1 << 22;
const OLD: libc::off_t = BASE + 1 + MOST_PIDS as libc::off_t;
const KEPT: libc::off_t = OLD + 1 + MOST_PIDS as libc::off_t;
const SESSION: libc::off_t = KEPT + 1 + MOST_PIDS as libc::off_t;
/// More older instances, or sessions of such, than a service has. A hostile one could have its asker
/// look for hours.
const MOST_LOCKS: usize = 1000;
/// The end of the last of these bytes.
const LAST: libc::off_t = SESSION + 1 + MOST_PIDS as libc::off_t;

/// The answer of a process's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It lives, and has this pid here.
    Here(Pid),
    /// It lives in another pid namespace.
    Elsewhere,
    Unknown,
}

/// Shows that a process of the service, which is starting, holds the lock.
pub(super) fn set_held(lock: BorrowedFd<'_>) {
    let both = range(STARTING, 2, libc::F_RDLCK);
    _ = fcntl(lock, FcntlArg::F_OFD_SETLK(&both));
}

/// Shows that the service is ready.
///
/// # Errors
/// The byte stays locked. Where there are no such locks, no one takes it for one that is starting.
pub(super) fn set_ready(lock: BorrowedFd<'_>) -> nix::Result<()> {
    let starting = range(STARTING, 1, libc::F_UNLCK);
    let unlock = || fcntl(lock, FcntlArg::F_OFD_SETLK(&starting));
    // To unlock a part takes memory, which may be there a moment later.
    match unlock().or_else(|_| unlock()) {
        Ok(_) | Err(Errno::EINVAL | Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Shows that this process is the service. It must not close a descriptor of the file afterwards.
pub(super) fn set_process(lock: BorrowedFd<'_>) {
    lock_own(lock, BASE + libc::off_t::from(getpid().as_raw()));
}

/// Shows that this process, the service, stays in the foreground.
pub(super) fn set_foreground(lock: BorrowedFd<'_>) {
    lock_own(lock, FOREGROUND);
}

/// Shows that this process has handed the service over, and lives on. It must not close a descriptor
/// of the file afterwards.
pub(crate) fn set_old(file: BorrowedFd<'_>) {
    lock_own(file, OLD + libc::off_t::from(getpid().as_raw()));
}

/// The same where this process has not been told to end.
pub(crate) fn set_kept(file: BorrowedFd<'_>) {
    lock_own(file, KEPT + libc::off_t::from(getpid().as_raw()));
}

/// Shows the sessions of older instances: these, and no others.
#[cfg(feature = "control")]
pub(super) fn set_old_sessions(lock: BorrowedFd<'_>, sessions: &[Pid]) {
    let all = range(SESSION, 1 + libc::off_t::from(MOST_PIDS), libc::F_UNLCK);
    _ = fcntl(lock, FcntlArg::F_OFD_SETLK(&all));
    for session in sessions {
        let byte = SESSION + libc::off_t::from(session.as_raw());
        _ = fcntl(lock, FcntlArg::F_OFD_SETLK(&range(byte, 1, libc::F_RDLCK)));
    }
}

/// Locks a byte for this process.
fn lock_own(file: BorrowedFd<'_>, byte: libc::off_t) {
    let byte = range(byte, 1, libc::F_RDLCK);
    _ = fcntl(file, FcntlArg::F_SETLK(&byte));
}

/// Checks whether the service stays in the foreground.
pub(crate) fn is_foreground(file: BorrowedFd<'_>) -> bool {
    in_the_way(file, FOREGROUND).is_some()
}

/// Finds the older instances that live on, by their pids here.
pub(super) fn old_instances(file: BorrowedFd<'_>) -> Vec<Pid> {
    lockers(file, OLD)
}

/// Finds those of them that have not been told to end.
pub(crate) fn kept_instances(file: BorrowedFd<'_>) -> Vec<Pid> {
    lockers(file, KEPT)
}

/// Finds the sessions of older instances. One may have ended since, and its number be another's.
#[allow(
    clippy::cast_possible_truncation,
    reason = "no number of a process is longer, whatever the type of an offset"
)]
pub(crate) fn old_sessions(file: BorrowedFd<'_>) -> Vec<Pid> {
    let mut sessions = Vec::new();
    for lock in locks(file, SESSION) {
        let end = lock.l_start + lock.l_len;
        // Some programs lock the whole file.
        if i32::from(lock.l_type) != libc::F_RDLCK || lock.l_start < SESSION || end > LAST {
            continue;
        }
        // The kernel joins the locks of neighbours.
        for byte in (lock.l_start..end).take(MOST_LOCKS) {
            sessions.push(Pid::from_raw((byte - SESSION) as libc::pid_t));
        }
    }
    sessions.truncate(MOST_LOCKS);
    sessions
}

/// Finds the processes that have locked their byte behind this one.
fn lockers(file: BorrowedFd<'_>, first: libc::off_t) -> Vec<Pid> {
    let mut found = Vec::new();
    for lock in locks(file, first) {
        if lock.l_pid > 0 {
            found.push(Pid::from_raw(lock.l_pid));
        }
    }
    found
}

/// Finds the locks on the bytes behind this one, one for each process number; of too many a part.
fn locks(file: BorrowedFd<'_>, first: libc::off_t) -> Vec<libc::flock> {
    let mut found = Vec::new();
    let mut parts = vec![(first, 1 + libc::off_t::from(MOST_PIDS))];
    while found.len() < MOST_LOCKS {
        let Some((start, length)) = parts.pop() else {
            break;
        };
        let mut asked = range(start, length, libc::F_WRLCK);
        if length <= 0 || fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)).is_err() {
            continue;
        }
        if i32::from(asked.l_type) == libc::F_UNLCK || asked.l_len <= 0 {
            continue;
        }
        // It need not be the first in the range: each side of it is asked about in turn.
        let (end, after) = (start + length, asked.l_start + asked.l_len);
        parts.extend([(start, asked.l_start - start), (after, end - after)]);
        found.push(asked);
    }
    found
}

/// Checks whether a process of the service holds the lock.
pub(super) fn is_held(file: BorrowedFd<'_>) -> bool {
    in_the_way(file, HELD).is_some()
}

/// Checks whether the service is not ready yet.
pub(super) fn is_starting(file: BorrowedFd<'_>) -> bool {
    in_the_way(file, STARTING).is_some()
}

/// Waits for as long as the service is not ready, until this time.
///
/// It looks again and again, by one system call, and less often with time, as a hundred may wait: the
/// byte is locked for reading, as the holder can do no more with the file. To wait for that lock
/// takes one for writing, which would be in the way of the next start.
pub(super) fn wait_while_starting(file: BorrowedFd<'_>, deadline: Instant) {
    const LONGEST: Duration = Duration::from_millis(80);
    let mut pause = Duration::from_millis(10);
    while is_starting(file) && Instant::now() < deadline {
        // Signals that the starter has blocked by now are let through.
        _ = ppoll(&mut [], Some(pause.into()), Some(SigSet::empty()));
        pause = LONGEST.min(pause * 2);
    }
}

/// Checks whether the process with the pid in the file is the service, and lives.
pub(super) fn life_of(file: BorrowedFd<'_>, pid: Pid) -> Life {
    if pid.as_raw() > MOST_PIDS {
        return Life::Unknown;
    }
    let byte = BASE + libc::off_t::from(pid.as_raw());
    match in_the_way(file, byte) {
        Some(lock) if (lock.l_start, lock.l_len) == (byte, 1) => match lock.l_pid {
            0 => Life::Elsewhere,
            1.. => Life::Here(Pid::from_raw(lock.l_pid)),
            // The lock of a description.
            _ => Life::Unknown,
        },
        _ => Life::Unknown,
    }
}

/// Finds the lock for reading on this byte. Locks for writing do not count: some programs, which
/// have opened the file to write it, lock the whole file so.
fn in_the_way(file: BorrowedFd<'_>, byte: libc::off_t) -> Option<libc::flock> {
    // The lock of a description conflicts with all others, those of this process included.
    let mut asked = range(byte, 1, libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)).ok()?;
    if i32::from(asked.l_type) == libc::F_RDLCK {
        Some(asked)
    } else {
        None
    }
}

/// Checks whether a restart is under way.
pub(crate) fn is_restarting(file: BorrowedFd<'_>) -> bool {
    let mut asked = restart_lock();
    let answer = fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked));
    answer.is_ok() && i32::from(asked.l_type) == libc::F_WRLCK && asked.l_start == RESTART
}

/// Returns the lock of a restart.
pub(crate) fn restart_lock() -> libc::flock {
    range(RESTART, 1, libc::F_WRLCK)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the constants are small, whatever their type"
)]
fn range(start: libc::off_t, length: libc::off_t, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}
