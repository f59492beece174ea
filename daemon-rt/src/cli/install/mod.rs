//! `install`, `uninstall`, `enable` and `disable`: the service's files where its manager wants
//! them.
//!
//! What is to be done is first a list of changes, which `--dry-run` prints. A file is replaced or
//! removed only if it is as this library wrote it.
//!
//! | module | holds |
//! | --- | --- |
//! | `plan` | what a command changes, and what it says |
//! | `find` | the search for the manager that runs here |
//! | `layout` | the place of a service's files under a manager, and the manager's commands |
//! | `systemd`, `openrc`, `sysv`, `scan`, `supervisord`, `dinit` | the layout of each |
//! | `mark` | the line by which a file is known as written by this library, and unchanged |
//! | `change` | the changes: printed, or made |

mod change;
mod dinit;
mod find;
mod layout;
mod mark;
mod openrc;
mod plan;
mod scan;
mod supervisord;
mod systemd;
mod sysv;

use std::io;

use self::layout::{Layout, Scope};
pub(super) use self::layout::{Start, Switch};
use super::output;
use super::unit::{self, UnitOptions};
use crate::control::{Control, Status, keeper};
use crate::daemon::action::Manager;
use crate::daemon::{Daemon, places};
use crate::error::Error;
use crate::report::log;
use crate::sys;

/// The commands.
pub(super) enum Task {
    Install(UnitOptions, Start),
    Uninstall,
    Switch(Switch),
}

/// The way to carry a command out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Dry,
    Real,
}

/// Carries a command out, or prints what it would change.
pub(super) fn run(
    daemon: &Daemon,
    manager: Option<Manager>,
    task: &Task,
    run: Run,
) -> Result<(), Error> {
    let verb = task.verb();
    let failed = |error| Error::control("", error).in_command(verb);
    let name = unit::plain_name(daemon.get_name())?;
    let manager = match manager {
        Some(manager) => manager,
        None => find::manager().map_err(failed)?,
    };
    let layout = layout(manager, &name, Scope::System).map_err(failed)?;
    let plan = match task {
        Task::Install(options, start) => {
            let files = unit::service_files(daemon, manager, options)?.files;
            plan::install(&layout, files, *start)
        }
        Task::Uninstall => plan::uninstall(&layout),
        Task::Switch(to) => plan::switch(&layout, *to),
    };
    let plan = plan.map_err(failed)?;
    if run == Run::Dry {
        return output::line(plan.text(&name).trim_end());
    }
    if let (Task::Install(_, Start::Now), false) = (task, manager == Manager::Sysv) {
        refuse_beside(daemon).map_err(failed)?;
    }
    let mut outcome = plan.carry_out().map_err(failed)?;
    if let Task::Install(_, Start::Now) = task {
        outcome += &started(daemon).map_err(failed)?;
    }
    log::say(&outcome);
    Ok(())
}

fn layout(manager: Manager, name: &str, scope: Scope) -> io::Result<Layout> {
    if scope == Scope::User && manager != Manager::Systemd {
        let problem = format!("{manager} has no services of a user: leave out --user");
        return Err(io::Error::other(problem));
    }
    match manager {
        Manager::Systemd => systemd::layout(name, scope),
        Manager::Openrc => Ok(openrc::layout(name)),
        Manager::Sysv => sysv::layout(name),
        Manager::Runit => scan::runit(name),
        Manager::S6 => scan::s6(name),
        Manager::Supervisord => supervisord::layout(name),
        Manager::Dinit => Ok(dinit::layout(name)),
        _ => Err(io::Error::other(format!(
            "there is no `install` for {manager}: `unit {manager}` prints its file"
        ))),
    }
}

/// Fails if the service was started by hand: the manager's start would fail, and not each manager
/// says so.
fn refuse_beside(daemon: &Daemon) -> io::Result<()> {
    let Ok(Some(pidfile)) = places::pidfile(daemon) else {
        return Ok(());
    };
    let Ok(Status::Running { pid, .. }) = Control::new(&pidfile).status() else {
        return Ok(());
    };
    match keeper::find_keeper(sys::pid_of(pid), &pidfile) {
        Ok(None) => Err(io::Error::other(format!(
            "it runs already, and no manager runs it: stop it first (pid {pid})"
        ))),
        _ => Ok(()),
    }
}

/// Waits until the service has started: not every manager does. Returns what was done.
fn started(daemon: &Daemon) -> io::Result<String> {
    let Ok(Some(pidfile)) = places::pidfile(daemon) else {
        return Ok("; started".to_owned());
    };
    let pid = keeper::wait_for_process(&pidfile, None)?;
    Ok(format!("; started: pid {pid}"))
}

impl Task {
    fn verb(&self) -> &'static str {
        match self {
            Self::Install(..) => "install",
            Self::Uninstall => "uninstall",
            Self::Switch(Switch::On) => "enable",
            Self::Switch(Switch::Off) => "disable",
        }
    }
}
