//! `install`, `uninstall`, `enable` and `disable`: the service's files where its manager wants
//! them.
//!
//! What is to be done is first a list of changes, which `--dry-run` prints. A file is replaced or
//! removed only if it is as this library wrote it.
//!
//! | module | holds |
//! | --- | --- |
//! | `plan` | what a command changes, and what it says |
//! | `start` | the start by the manager, seen from outside |
//! | `find` | the search for the manager that runs here |
//! | `layout` | the place of a service's files under a manager, and the manager's commands |
//! | `systemd`, `openrc`, `sysv`, `scan`, `s6_rc`, `supervisord`, `dinit` | the layout of each |
//! | `mark` | the line by which a file is known as written by this library, and unchanged |
//! | `change`, `compile` | the changes: printed, or made |

mod change;
mod compile;
mod dinit;
mod find;
mod layout;
mod mark;
mod openrc;
mod plan;
mod s6_rc;
mod scan;
mod start;
mod supervisord;
mod systemd;
mod sysv;

use std::io;

use self::layout::Layout;
pub(super) use self::layout::{Start, Switch};
use self::start::Before;
use super::output;
use super::unit::{self, Scope, UnitOptions};
use crate::daemon::Daemon;
use crate::daemon::action::Manager;
use crate::error::Error;
use crate::report::log;

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
    scope: Scope,
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
    let layout = layout(manager, &name, scope).map_err(failed)?;
    let plan = match task {
        Task::Install(options, start) => {
            let files = unit::service_files(daemon, manager, options)?.files;
            let directories = unit::log_directories(daemon, manager, options)?;
            plan::install(&layout, files, *start).map(|plan| plan.with_directories(directories))
        }
        Task::Uninstall => plan::uninstall(&layout),
        Task::Switch(to) => plan::switch(&layout, *to),
    };
    let plan = plan.map_err(failed)?;
    if run == Run::Dry {
        return output::line(plan.text(&name).trim_end());
    }
    let before = match task {
        Task::Install(_, Start::Now) => Some(Before::look(daemon, manager).map_err(failed)?),
        _ => None,
    };
    plan.carry_out().map_err(failed)?;
    let mut outcome = plan.outcome.clone();
    if let Some(before) = before {
        match plan.start().and_then(|()| before.wait()) {
            Ok(started) => outcome += &started,
            Err(error) => {
                log::say(&outcome);
                return Err(start::failed(daemon, &error));
            }
        }
    }
    if let (Task::Uninstall, Some(pid)) = (task, start::left(daemon)) {
        outcome = format!("{outcome}; pid {pid}, which no manager runs, goes on");
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
        Manager::S6Rc => s6_rc::layout(name),
        Manager::Supervisord => supervisord::layout(name),
        Manager::Dinit => Ok(dinit::layout(name)),
        _ => Err(io::Error::other(format!(
            "there is no `install` for {manager}: `unit {manager}` prints its file"
        ))),
    }
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
