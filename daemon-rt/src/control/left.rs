//! Processes that older instances of a service have left: they run on, below no instance.
//!
//! The kernel proves where they come from, in one of two ways: they have the session of an older
//! instance, which that has shown at a hand-over; or they are in the control group that the manager
//! has made for the service, and are older than the main process.

use std::path::Path;

use nix::unistd::{Pid, getpid};

use super::keeper::Keeper;
use super::lookup;
use super::process::{Process, is_in_group, still_there};
use crate::manager::supervisor::{arguments, comm};
use crate::steps::writer;
use crate::sys::{self, proc};

/// A process that an older instance has left.
pub(crate) struct Left {
    pub(crate) pid: u32,
    /// Its command line, or its name.
    pub(crate) command: String,
}

/// Finds them; `None` where no evidence can be had.
pub(crate) fn left_processes(
    pidfile: &Path,
    main: Pid,
    keeper: Option<&Keeper>,
) -> Option<Vec<Left>> {
    // Sessions have other numbers there.
    let sessions = if proc::is_below(main) {
        Vec::new()
    } else {
        lookup::old_sessions(pidfile).ok()?
    };
    let (groups, command) = match keeper {
        Some(keeper) => (keeper.groups.as_slice(), keeper.command),
        None => ([].as_slice(), None),
    };
    if sessions.is_empty() && groups.is_empty() {
        return None;
    }
    let all = Process::all();
    let service = all.iter().find(|process| process.pid == main)?;
    let sessions = still_there(sessions, &all, service);
    let is_old = |process: &&Process| {
        sessions.contains(&process.session)
            || process.started < service.started && is_in_group(process.pid, groups)
    };
    // The instances, and what the manager and a person run beside them.
    let mut others = lookup::old_instances(pidfile).ok()?;
    others.extend([main, getpid()]);
    others.extend(command);
    let above = above(service, &all);
    let is_left = |process: &&Process| {
        !above.contains(&process.pid)
            && !is_below(process, &others, &all)
            && comm(process.pid, &mut [0; 16]) != Some(writer::NAME.to_bytes())
    };
    let left = all.iter().filter(is_old).filter(is_left);
    Some(left.map(described).collect())
}

/// Checks whether a process is one of these, or one of these has started it, or one that has, and so
/// on.
fn is_below(process: &Process, these: &[Pid], all: &[Process]) -> bool {
    these.contains(&process.pid)
        || above(process, all)
            .iter()
            .any(|parent| these.contains(parent))
}

/// The parent of a process, and the parent of that, and so on.
fn above(process: &Process, all: &[Process]) -> Vec<Pid> {
    let mut above = Vec::new();
    let mut next = process.parent;
    // While this was read, a number may have become another process's: there may be a circle.
    while let Some(parent) = all.iter().find(|process| process.pid == next) {
        if above.contains(&next) {
            break;
        }
        above.push(next);
        next = parent.parent;
    }
    above
}

fn described(process: &Process) -> Left {
    let words = arguments(process.pid);
    let mut command = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    if command.is_empty() {
        let mut buffer = [0; 16];
        let name = comm(process.pid, &mut buffer).unwrap_or_default();
        command = String::from_utf8_lossy(name).into_owned();
    }
    Left {
        pid: sys::id_of(process.pid),
        command,
    }
}
