//! The keeper of a service: the manager that runs it, and that is asked to stop and to restart it.
//!
//! A service that is stopped or replaced behind its manager's back is lost to it: the manager
//! starts it again, or takes it for dead. So the control commands do as service(8) does, and leave
//! that to the manager.
//!
//! | module | holds |
//! | --- | --- |
//! | `evidence` | the search for the manager |
//! | `systemd`, `openrc`, `supervisors` | what each manager says of its services |
//! | `remedy` | the manager's commands, or what a person has to do |
//! | `unit_start` | the word `start` in a unit of systemd |

mod command;
mod evidence;
mod openrc;
mod remedy;
mod supervisors;
mod systemd;
pub(crate) mod unit_start;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

#[cfg(feature = "cli")]
pub(crate) use self::command::ask;
#[cfg(feature = "cli")]
pub(crate) use self::command::run as output;
pub(crate) use self::evidence::find_keeper;
use self::remedy::Caller;
pub(crate) use self::remedy::Keeper;
#[cfg(feature = "cli")]
pub(crate) use self::remedy::run;
#[cfg(feature = "cli")]
pub(crate) use self::supervisors::configuration_of_supervisord;
#[cfg(feature = "cli")]
pub(crate) use self::systemd::in_journal;
use crate::control::handover::{self, Restart};
use crate::control::instance::Instance;
use crate::control::lookup::{describe, failed, stays_in_foreground};
use crate::control::{Control, Status, Stopped};
use crate::error::Error;
use crate::steps::pidfile::{self, Found, Holder};
use crate::sys::{self, proc};

/// Time limit for the new process to be seen. The manager may not know when it is ready.
const START: Duration = Duration::from_secs(30);
/// Pause between two looks for it.
const PAUSE: Duration = Duration::from_millis(10);

/// Restarts a service by the manager that runs it: `Break`, with what was done. Where no manager
/// does, the start that continues is part of the restart, if there is something to restart. An
/// upgrade, without a `patience`, is the program's business, whatever runs it.
pub(crate) fn prepare_restart(
    pidfile: &Path,
    patience: Option<Duration>,
) -> Result<ControlFlow<String, Option<Restart>>, Error> {
    if patience.is_some() {
        if let ControlFlow::Break(outcome) = restart_by_manager(pidfile)? {
            return Ok(ControlFlow::Break(outcome));
        }
    }
    let restart = handover::prepare_restart(pidfile, patience)?;
    Ok(ControlFlow::Continue(restart))
}

/// Has the manager restart the service, if one runs it: `Break`.
fn restart_by_manager(pidfile: &Path) -> Result<ControlFlow<String>, Error> {
    let failed = |error| failed(pidfile, error);
    if let Some(old) = Instance::of(pidfile)? {
        if let Some(keeper) = find_keeper(old.pid, pidfile).map_err(failed)? {
            if keeper.caller != Caller::ManagerThatFollows {
                let outcome = restart(&keeper, pidfile, old.pid).map_err(failed)?;
                return Ok(ControlFlow::Break(outcome));
            }
        }
        if proc::is_below(old.pid) {
            let problem = "it runs in another pid namespace (a container): restart it there";
            return Err(failed(io::Error::other(problem)));
        }
        if !proc::is_ours() && stays_in_foreground(pidfile) {
            let problem = "it runs in the foreground, and without /proc its manager cannot be found: restart it there";
            return Err(failed(io::Error::other(problem)));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Has the manager restart the service, and waits for the new process. Returns what was done.
fn restart(keeper: &Keeper, pidfile: &Path, old: Pid) -> io::Result<String> {
    let command = keeper.restart()?;
    match wait_for_process(pidfile, Some(old)) {
        Ok(pid) => Ok(format!("restarted: pid {pid}, by `{command}`")),
        Err(error) => Err(io::Error::other(format!(
            "`{command}` succeeded, but {error}"
        ))),
    }
}

/// Waits until the service that a manager has started is ready, by its pidfile. `old` is the
/// process of before. Returns the new one.
pub(crate) fn wait_for_process(pidfile: &Path, old: Option<Pid>) -> io::Result<u32> {
    let (control, old) = (Control::new(pidfile), old.map(sys::id_of));
    let began = Instant::now();
    while began.elapsed() < START {
        match control.status() {
            Ok(Status::Running { pid, .. }) if Some(pid) != old => return Ok(pid),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(io::Error::other(format!(
        "no new process holds the pidfile after {START:?}"
    )))
}

/// Stops a service: by the manager that runs it, if one does and would start it again.
pub(crate) fn stop(control: &Control, patience: Duration) -> Result<Stopped, Error> {
    let pidfile = &control.pidfile;
    let Some(instance) = Instance::of(pidfile)? else {
        return control.stop(patience);
    };
    // Where the manager does not answer, a signal still ends the service.
    let keeper = match find_keeper(instance.pid, pidfile) {
        Ok(Some(keeper)) if keeper.caller == Caller::Anyone && keeper.starts_it_again() => keeper,
        _ => return control.stop(patience),
    };
    let failed = |error| failed(pidfile, error);
    // The main process removes the file at its end. This descriptor still tells who holds the lock
    // then.
    let opened = File::open(pidfile);
    let began = Instant::now();
    keeper.stop(patience).map_err(failed)?;
    let left = patience.saturating_sub(began.elapsed());
    let stopped = if instance.ends_within(left).map_err(failed)? {
        Stopped::Terminated {
            pid: sys::id_of(instance.pid),
        }
    } else {
        control.stop(Duration::ZERO)?
    };
    if let Ok(opened) = opened {
        check_left_behind(&opened, pidfile).map_err(failed)?;
    }
    _ = pidfile::remove_stale(pidfile, || handover::clean_up(pidfile, None));
    Ok(stopped)
}

/// Fails if a process still holds the pidfile: a manager may end the main process only, and leave
/// what that has forked.
fn check_left_behind(opened: &File, pidfile: &Path) -> io::Result<()> {
    match pidfile::find(opened.as_fd(), pidfile) {
        Ok(Found::Held(
            holder @ (Holder::LeftBehind { .. } | Holder::Another(_) | Holder::Unseen),
        )) => Err(io::Error::other(describe(holder))),
        _ => Ok(()),
    }
}
