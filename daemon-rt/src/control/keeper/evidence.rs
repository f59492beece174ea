//! The search for the manager that runs a service. Only two things count: what a manager itself
//! says of a process, and that the process is its child.

use std::io;
use std::path::Path;

use nix::unistd::Pid;

use super::remedy::{Caller, Keeper, Remedy};
use super::{openrc, supervisors, systemd};
use crate::control::lookup::stays_in_foreground;
use crate::control::process::{Process, is_trusted};
use crate::manager::supervisor::Supervisor;

/// Finds the manager that runs a service, by the service's process and its pidfile.
///
/// # Errors
/// If a manager that may run it does not answer.
pub(crate) fn find_keeper(pid: Pid, pidfile: &Path) -> io::Result<Option<Keeper>> {
    let Some(service) = Process::of(pid) else {
        return Ok(None);
    };
    let parent = Process::of(service.parent);
    if let Some(keeper) = systemd::find_keeper(service, parent)? {
        return Ok(Some(keeper));
    }
    if let Some(keeper) = openrc::by_pidfile(pidfile) {
        return Ok(Some(keeper));
    }
    let Some(parent) = parent else {
        return Ok(None);
    };
    if let Some(supervisor) = Supervisor::of(parent.pid, service.pid) {
        return supervised(supervisor, service, parent);
    }
    if let Some(keeper) = pid_1(service, parent) {
        return Ok(Some(keeper));
    }
    if stays_in_foreground(pidfile) {
        wrapped(service, parent)
    } else {
        Ok(None)
    }
}

/// The supervisor whose child the service is.
fn supervised(
    supervisor: Supervisor,
    service: Process,
    parent: Process,
) -> io::Result<Option<Keeper>> {
    // Its name, its directory and its arguments decide what is run here.
    if !is_trusted(parent.pid) {
        return Ok(None);
    }
    let keeper = match supervisor {
        Supervisor::Runit => supervisors::runit(service.pid, parent),
        Supervisor::S6 => supervisors::s6(parent),
        Supervisor::Daemontools => supervisors::daemontools(parent),
        Supervisor::OpenRc => openrc::supervised(service.pid),
        Supervisor::Supervisord => Some(supervisors::supervisord(service.pid, parent.pid)?),
        Supervisor::Dinit => Some(supervisors::dinit(service.pid)?),
        Supervisor::Shim => pid_1(service, parent),
        Supervisor::Runtime => {
            let advice = "it ends the container with it: restart the container";
            let remedy = Remedy::RestartByHand(advice.to_owned());
            Some(unnamed("a container's runtime", parent, remedy))
        }
        Supervisor::Other(name) => {
            let advice = "it starts it again when it ends: restart or stop it there";
            Some(unnamed(name, parent, Remedy::ByHand(advice.to_owned())))
        }
    };
    let Some(mut keeper) = keeper else {
        return Ok(None);
    };
    // These wait for what they run beside the service: `finish`, `control/t`.
    if let Supervisor::Runit | Supervisor::S6 | Supervisor::Daemontools = supervisor {
        if parent.has_started_this() {
            keeper.caller = Caller::Manager;
        }
    }
    Ok(Some(keeper))
}

/// A manager that has no name for the service.
fn unnamed(manager: &'static str, process: Process, remedy: Remedy) -> Keeper {
    Keeper::new(manager, format!("pid {}", process.pid), remedy)
}

/// The supervisor of a script that stays the parent of the service. The supervisor knows the script
/// alone.
fn wrapped(service: Process, parent: Process) -> io::Result<Option<Keeper>> {
    /// No script has more processes between them.
    const MOST: usize = 4;
    let mut script = parent;
    for _ in 0..MOST {
        if script.session != service.session {
            break;
        }
        let Some(above) = Process::of(script.parent) else {
            break;
        };
        let Some(supervisor) = Supervisor::of(above.pid, script.pid) else {
            script = above;
            continue;
        };
        let Some(mut keeper) = supervised(supervisor, script, above)? else {
            break;
        };
        if let Remedy::Commands { restart, .. } = &keeper.remedy {
            let advice = format!(
                "pid {} is between them: use `exec` in the script that starts the service, then run `{}`",
                parent.pid,
                restart.join(" ")
            );
            keeper.remedy = Remedy::ByHand(advice);
        }
        return Ok(Some(keeper));
    }
    Ok(None)
}

/// PID 1 of a container, which runs a command and ends with it. What has detached is in a session
/// of its own that it does not lead; what PID 1 runs is in PID 1's session, or leads the one that a
/// small init has made for it.
fn pid_1(service: Process, parent: Process) -> Option<Keeper> {
    let is_init = parent.pid.as_raw() == 1 || parent.is_pid_1_of(service.pid);
    let is_its = service.session == parent.session
        || service.session == service.pid
            && Supervisor::of(parent.pid, service.pid) == Some(Supervisor::Shim);
    if !is_init || !is_its {
        return None;
    }
    let advice = "the container ends with it: restart the container";
    let remedy = Remedy::RestartByHand(advice.to_owned());
    Some(Keeper::new("PID 1", "its container", remedy))
}
