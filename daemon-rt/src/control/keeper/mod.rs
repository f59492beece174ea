//! The keeper of a service: the manager that runs it, and that is asked to stop and to restart it.
//!
//! A service that is stopped or replaced behind its manager's back is lost to it: it is started
//! again, or taken for dead. So the control commands do as service(8) does, and leave that to the
//! manager.

mod command;
mod evidence;
mod systemd;
pub(crate) mod unit_start;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitCode, Output};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::control::instance::Instance;
use crate::control::lookup::{describe, stays_in_foreground};
use crate::control::{Control, Status, Stopped, handover};
use crate::error::Error;
use crate::report;
use crate::steps::pidfile::{self, Found, Holder};
use crate::sys::{self, proc};

/// How long a restart by the manager may take, the end of the old process included.
const RESTART: Duration = Duration::from_secs(180);
/// How long the new process may take to be seen, where the manager does not know when it is ready.
const START: Duration = Duration::from_secs(30);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(10);

/// The manager that runs a service.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) manager: &'static str,
    /// The service, as the manager calls it.
    pub(crate) service: String,
    remedy: Remedy,
    caller: Caller,
}

/// What is to be done about a service that a manager runs.
#[derive(Debug)]
enum Remedy {
    /// The manager's commands.
    Commands {
        restart: Vec<String>,
        stop: Vec<String>,
    },
    /// A person has to do it, in these words. The manager starts the service again when it ends.
    ByHand(String),
    /// The same, but the manager ends when the service does, or lets it end.
    RestartByHand(String),
}

/// Who runs the control command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Anyone,
    /// The manager, for this service, by `ExecReload=` or an init script. It waits for the command,
    /// so that it must not be called.
    Manager,
    /// The same, and the manager follows the pidfile to a new main process.
    ManagerThatFollows,
}

/// Restarts a service: by the manager that runs it, if one does. `Some` if that was done, and no
/// start is to follow.
pub(crate) fn prepare_restart(
    pidfile: &Path,
    patience: Duration,
) -> Result<Option<ExitCode>, Error> {
    let control = Control::new(pidfile);
    let failed = |error| Error::control(format!("{}: restart", pidfile.display()), error);
    if let Some(old) = Instance::of(pidfile)? {
        let keeper = Keeper::of(old.pid, pidfile).map_err(failed)?;
        if let Some(keeper) = keeper.filter(|keeper| keeper.caller != Caller::ManagerThatFollows) {
            let (new, command) = keeper.restart(&control, old.pid).map_err(failed)?;
            // That nobody reads it is no error.
            _ = writeln!(
                io::stdout(),
                "{} was restarted by `{command}` (pid {new})",
                report::name()
            );
            return Ok(Some(ExitCode::SUCCESS));
        }
        if proc::is_below(old.pid) {
            let problem = "it runs in another pid namespace (a container): restart it there";
            return Err(failed(io::Error::other(problem)));
        }
        if !proc::is_ours() && stays_in_foreground(pidfile) {
            let problem = "it runs in the foreground, and without /proc it cannot be seen who runs it: restart it there";
            return Err(failed(io::Error::other(problem)));
        }
    }
    handover::prepare_restart(pidfile, patience)?;
    Ok(None)
}

/// Stops a service: by the manager that runs it, if one does and would start it again.
pub(crate) fn stop(control: &Control, file: &Path, patience: Duration) -> Result<Stopped, Error> {
    let failed = |error| Error::control(format!("{}: stop", file.display()), error);
    let Some(instance) = Instance::of(file)? else {
        return control.stop(patience);
    };
    // Where the manager does not answer, a signal still ends the service.
    let keeper = Keeper::of(instance.pid, file).unwrap_or_default();
    let Some(keeper) =
        keeper.filter(|keeper| keeper.caller == Caller::Anyone && keeper.starts_it_again())
    else {
        return control.stop(patience);
    };
    // The main process removes the file at its end. Who holds the lock then can still be asked by
    // this descriptor.
    let opened = File::open(file).ok();
    let began = Instant::now();
    keeper.stop(patience).map_err(failed)?;
    let stopped = if instance
        .ends_within(patience.saturating_sub(began.elapsed()))
        .map_err(failed)?
    {
        Stopped::Terminated {
            pid: sys::id_of(instance.pid),
        }
    } else {
        control.stop(Duration::ZERO)?
    };
    // A manager may end the main process only, and leave what that has forked.
    if let Some(Ok(Found::Held(
        left @ (Holder::LeftBehind { .. } | Holder::Another(_) | Holder::Unseen),
    ))) = opened.map(|opened| pidfile::find(opened.as_fd(), file))
    {
        return Err(failed(io::Error::other(describe(left))));
    }
    _ = pidfile::remove_stale(file, || handover::clean_up(file));
    Ok(stopped)
}

impl Keeper {
    /// Has the manager restart the service. Returns its new process, and the command.
    fn restart(&self, control: &Control, old: Pid) -> io::Result<(u32, String)> {
        let Remedy::Commands { restart, .. } = &self.remedy else {
            return Err(self.refusal());
        };
        if self.caller != Caller::Anyone {
            return Err(self.refusal());
        }
        let command = restart.join(" ");
        command::run(restart, RESTART)
            .and_then(|ended| succeeded(&ended))
            .map_err(|error| with(&command, &error))?;
        let began = Instant::now();
        while began.elapsed() < START {
            if let Ok(Status::Running { pid, .. }) = control.status() {
                if pid != sys::id_of(old) {
                    return Ok((pid, command));
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err(io::Error::other(format!(
            "`{command}` succeeded, but no new process holds the pidfile after {START:?}"
        )))
    }

    fn starts_it_again(&self) -> bool {
        !matches!(self.remedy, Remedy::RestartByHand(_))
    }

    /// Tells the manager to stop the service, and not to start it again. One that is slow to end is
    /// the caller's to kill.
    fn stop(&self, patience: Duration) -> io::Result<()> {
        let Remedy::Commands { stop, .. } = &self.remedy else {
            return Err(self.refusal());
        };
        match command::run(stop, patience) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            ended => ended
                .and_then(|ended| succeeded(&ended))
                .map_err(|error| with(&stop.join(" "), &error)),
        }
    }

    /// The words for what is left to a person.
    fn refusal(&self) -> io::Error {
        let (manager, service) = (self.manager, &self.service);
        io::Error::other(match &self.remedy {
            Remedy::ByHand(words) | Remedy::RestartByHand(words) => {
                format!("{manager} runs it ({service}): {words}")
            }
            Remedy::Commands { restart, .. } => {
                let restart = restart.join(" ");
                format!(
                    "{manager} runs this command for {service}, and waits for it: say `{restart}` from outside"
                )
            }
        })
    }
}

fn with(command: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{command}`: {error}"))
}

/// The manager's words where it has failed.
fn succeeded(ended: &Output) -> io::Result<()> {
    if ended.status.success() {
        return Ok(());
    }
    let words = [&ended.stderr, &ended.stdout]
        .map(|text| String::from_utf8_lossy(text).trim().replace('\n', "; "));
    let words = words.into_iter().find(|words| !words.is_empty());
    Err(io::Error::other(
        words.unwrap_or_else(|| ended.status.to_string()),
    ))
}
