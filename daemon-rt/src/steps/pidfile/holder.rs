//! Finds out who holds the lock of a pidfile, for a process that does not.
//!
//! Only positive evidence counts, in this order: the byte that the main process has locked for
//! itself; the descriptors of the process that the file names; the process that listens on the
//! control socket.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::unistd::Pid;
#[cfg(target_os = "linux")]
use nix::unistd::getpid;

use super::line::read_pid;
use super::marks::{self, Life};
use super::peer;
#[cfg(target_os = "linux")]
use crate::sys;
use crate::sys::proc;
#[cfg(target_os = "linux")]
use crate::sys::stat::FileStat;
use crate::sys::stat::fstat;

/// The holder of a pidfile's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The service's main process, by its pid here.
    Main(Pid, Phase),
    /// The main process in another pid namespace, by its pid there.
    Elsewhere(Pid, Phase),
    /// A start that has not written its pid yet.
    Unnamed,
    /// A process that the main process has left behind when it ended.
    LeftBehind { main: Pid, by: Option<Pid> },
    /// A process that the file does not name.
    Another(Pid),
    /// The service's main process, whose file was removed.
    WithoutFile(Pid),
    /// A process that cannot be seen.
    Unseen,
}

/// The phase in which a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main(pid, phase) => write!(f, "held by pid {pid}{phase}"),
            Self::Elsewhere(pid, phase) => write!(
                f,
                "held in another pid namespace, by pid {pid} there{phase}"
            ),
            Self::Unnamed => f.write_str("held by a process that has not written its pid"),
            Self::LeftBehind { main, by } => {
                write!(
                    f,
                    "its main process, pid {main}, has ended, but a process that it left behind holds the lock"
                )?;
                match by {
                    Some(pid) => write!(f, ": pid {pid}"),
                    None => Ok(()),
                }
            }
            Self::Another(pid) => write!(f, "held by pid {pid}, which it does not name"),
            Self::WithoutFile(pid) => write!(
                f,
                "its file was removed, but pid {pid} answers on its control socket"
            ),
            Self::Unseen => f.write_str("held by a process that cannot be seen from here"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => ", which is still starting",
            Self::Ready => "",
        })
    }
}

/// Finds the main process of the service that holds this file, or that one is about to write its
/// pid, if there is evidence for it.
pub(crate) fn main_process(file: BorrowedFd<'_>, pidfile: &Path) -> io::Result<Option<Holder>> {
    // Before the pid is read: when a start is over, its pid is there.
    let phase = if marks::is_starting(file) {
        Phase::Starting
    } else {
        Phase::Ready
    };
    let found = named_process(file, pidfile, phase)?;
    if found.is_none() && phase == Phase::Starting {
        return Ok(Some(Holder::Unnamed));
    }
    Ok(found)
}

/// Finds the main process by the pid in the file.
fn named_process(file: BorrowedFd<'_>, pidfile: &Path, phase: Phase) -> io::Result<Option<Holder>> {
    let Some(named) = read_pid(file)? else {
        return Ok(None);
    };
    let found = fstat(file)?;
    match marks::life_of(file, named) {
        // A hostile service can make a lock outlive the process that took it, so that a signal would
        // hit another one.
        Life::Here(pid) if proc::holds(pid, &found) != Some(false) => {
            return Ok(Some(Holder::Main(pid, phase)));
        }
        Life::Elsewhere => return Ok(Some(Holder::Elsewhere(named, phase))),
        _ if proc::holds(named, &found) == Some(true) => {
            return Ok(Some(Holder::Main(named, phase)));
        }
        _ => {}
    }
    Ok(match peer::listener(pidfile) {
        Some(Life::Here(pid)) if pid == named || proc::innermost(pid) == Some(named) => {
            Some(Holder::Main(pid, phase))
        }
        Some(Life::Elsewhere) => Some(Holder::Elsewhere(named, phase)),
        _ => None,
    })
}

/// Finds another holder of the lock, where [`main_process`] has found none.
pub(crate) fn other_holder(file: BorrowedFd<'_>) -> io::Result<Holder> {
    let (named, found) = (read_pid(file)?, fstat(file)?);
    let by = proc::holder(&found);
    Ok(match (named, by) {
        (Some(main), by) if marks::is_held(file) && proc::has_ended(main) => {
            Holder::LeftBehind { main, by }
        }
        (_, Some(by)) => Holder::Another(by),
        (_, None) => Holder::Unseen,
    })
}

/// The state of a pidfile's lock.
#[cfg(target_os = "linux")]
pub(crate) enum Found {
    /// It is not held. The file names this process, if it names one.
    Free(Option<Pid>),
    /// It is not held, but the process that has written the file lives: it has closed the descriptor
    /// that held the lock.
    Lost(Pid),
    Held(Holder),
}

/// Finds the holder of the lock. Looks again while that is not certain: a start has not written its
/// pid for a moment, and a dying process has the lock for longer than anything that tells who it
/// is.
#[cfg(target_os = "linux")]
pub(crate) fn find(file: BorrowedFd<'_>, pidfile: &Path) -> io::Result<Found> {
    const DOUBT: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(2);
    let began = Instant::now();
    loop {
        match main_process(file, pidfile)? {
            Some(Holder::Unnamed) if began.elapsed() <= DOUBT => {}
            Some(main) => return Ok(Found::Held(main)),
            None => {}
        }
        // Files without marks: the lock is tested by taking it for a moment, shared.
        if !marks::is_held(file) && !sys::is_locked(file)? {
            match read_pid(file)? {
                Some(pid) if has_written(pid, &fstat(file)?) => {
                    if began.elapsed() > DOUBT {
                        return Ok(Found::Lost(pid));
                    }
                }
                named => return Ok(Found::Free(named)),
            }
        } else if began.elapsed() > DOUBT {
            return other_holder(file).map(Found::Held);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Checks whether a process that the file names lives, and may have written it: it was started
/// before, unlike one that got the number later, and runs this program, unlike one whose number was
/// put there by someone else.
#[cfg(target_os = "linux")]
fn has_written(pid: Pid, file: &FileStat) -> bool {
    // The system counts both times in ticks.
    const TICKS: Duration = Duration::from_millis(20);
    let (Ok(seconds), Ok(rest)) = (
        u64::try_from(file.st_mtime),
        u64::try_from(file.st_mtime_nsec),
    ) else {
        return false;
    };
    let written = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(rest);
    if pid == getpid() || proc::has_ended(pid) || !proc::runs_this_program(pid) {
        return false;
    }
    matches!(proc::started(pid), Some(started) if started <= written + TICKS)
}

/// Checks whether the process lives, by its lock on the file, which names it.
#[cfg(target_os = "linux")]
pub(crate) fn says_alive(file: BorrowedFd<'_>, pid: Pid) -> bool {
    let (Ok(Some(named)), Ok(found)) = (read_pid(file), fstat(file)) else {
        return false;
    };
    marks::life_of(file, named) == Life::Here(pid) && proc::holds(pid, &found) != Some(false)
}

/// Finds the older instances that live on, by their pids here. They have the file open: a hostile
/// service can make a lock outlive the process that took it, here as well.
#[cfg(target_os = "linux")]
pub(crate) fn old_instances(file: BorrowedFd<'_>) -> Vec<Pid> {
    let mut pids = marks::old_instances(file);
    if let Ok(found) = fstat(file) {
        pids.retain(|pid| proc::has_open(*pid, &found) != Some(false));
    }
    pids
}
