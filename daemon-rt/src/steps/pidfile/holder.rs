//! The look of others at a pidfile: who holds its lock.
//!
//! It is told only what there is positive evidence for, in this order: the byte that the main
//! process has locked for itself; the descriptors of the process that the file names; the process
//! that listens on the control socket.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use nix::sys::stat::FileStat;
use nix::sys::stat::fstat;
use nix::unistd::Pid;
#[cfg(target_os = "linux")]
use nix::unistd::getpid;

use super::marks::{self, Life};
use super::peer;
use super::write::read_pid;
#[cfg(target_os = "linux")]
use crate::sys;
use crate::sys::proc;

/// Who holds the lock of a pidfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The service's main process, by its number here.
    Main(Pid, Phase),
    /// The same in another pid namespace, by its number there.
    Elsewhere(Pid, Phase),
    /// A start that has not come to writing its pid.
    Unnamed,
    /// A process that the main process, which has ended, has left behind.
    LeftBehind { main: Pid, by: Option<Pid> },
    /// A process that the file does not name.
    Another(Pid),
    /// The service's main process, whose file was removed.
    WithoutFile(Pid),
    /// A process that cannot be told.
    Unseen,
}

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
                by.map_or(Ok(()), |pid| write!(f, ": pid {pid}"))
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

/// The main process of the service that holds this file, if there is evidence for one.
pub(crate) fn main_process(file: BorrowedFd<'_>, pidfile: &Path) -> io::Result<Option<Holder>> {
    let Some(named) = read_pid(file)? else {
        return Ok(None);
    };
    let found = fstat(file)?;
    let phase = if marks::is_starting(file) {
        Phase::Starting
    } else {
        Phase::Ready
    };
    match marks::life_of(file, named) {
        // A hostile service can have a lock outlive the process that took it. It is not that
        // process which is to be hit.
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

/// What is left to say of a lock that is held, and not by a main process that can be told.
pub(crate) fn someone(file: BorrowedFd<'_>) -> io::Result<Holder> {
    let (named, found) = (read_pid(file)?, fstat(file)?);
    if marks::is_starting(file) {
        return Ok(Holder::Unnamed);
    }
    let by = proc::holder(&found);
    Ok(match (named, by) {
        (Some(main), by) if marks::is_held(file) && proc::has_ended(main) => {
            Holder::LeftBehind { main, by }
        }
        (_, Some(by)) => Holder::Another(by),
        (_, None) => Holder::Unseen,
    })
}

/// What a look at a pidfile finds.
#[cfg(target_os = "linux")]
pub(crate) enum Found {
    /// No one holds the lock. The file names this process, if it names one.
    Free(Option<Pid>),
    /// The same, but the process that has written it lives: it has closed the descriptor that held
    /// the lock.
    Lost(Pid),
    Held(Holder),
}

/// Looks who holds the lock, until that is certain, and for at most this time: in a start there is
/// a moment in which the pid is not written yet, and one that is dying has the lock for longer than
/// anything by which it could be told.
#[cfg(target_os = "linux")]
pub(crate) fn find(file: BorrowedFd<'_>, pidfile: &Path) -> io::Result<Found> {
    const DOUBT: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(2);
    let began = Instant::now();
    loop {
        if let Some(main) = main_process(file, pidfile)? {
            return Ok(Found::Held(main));
        }
        // To test the lock by taking it, if only for a moment and not alone, is for files on which
        // nothing is said.
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
            return someone(file).map(Found::Held);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether a process that the file names lives, and may have written it: it was started before,
/// unlike one that has got the number since, and runs this program, unlike one whose number someone
/// has put there.
#[cfg(target_os = "linux")]
fn has_written(pid: Pid, file: &FileStat) -> bool {
    // The system tells both times by ticks.
    const TICKS: Duration = Duration::from_millis(20);
    let (Ok(seconds), Ok(rest)) = (
        u64::try_from(file.st_mtime),
        u64::try_from(file.st_mtime_nsec),
    ) else {
        return false;
    };
    let written = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(rest);
    pid != getpid()
        && !proc::has_ended(pid)
        && proc::runs_this_program(pid)
        && proc::started(pid).is_some_and(|started| started <= written + TICKS)
}

/// Whether the process says by its lock on the file, which names it, that it lives.
#[cfg(target_os = "linux")]
pub(crate) fn says_alive(file: BorrowedFd<'_>, pid: Pid) -> bool {
    let Ok(Some(named)) = read_pid(file) else {
        return false;
    };
    marks::life_of(file, named) == Life::Here(pid)
}
