//! The control commands, carried out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::syslog::Severity;
use nix::unistd::geteuid;

use super::install::{self, Run, Start, Switch, Task};
use super::output;
use super::status::{Answer, UNKNOWN};
use super::unit::{self, Scope, UnitOptions};
use crate::control::{Control, Reloaded, Stopped, keeper};
use crate::daemon::Daemon;
use crate::daemon::action::Action;
use crate::daemon::places;
use crate::error::{Error, ErrorKind, Failure};
use crate::report::log;
use crate::status;

impl Daemon {
    /// Tells whether the command is one that starts the service in this process.
    pub(crate) fn starts(&self) -> bool {
        matches!(
            self.action,
            Action::Start { .. } | Action::Run | Action::Restart { .. }
        )
    }

    /// Tells whether the command writes service files, which make the directories that they name.
    pub(crate) fn installs(&self) -> bool {
        matches!(self.action, Action::Install { .. })
    }

    /// Tells whether the outcome of the start is said on standard output.
    pub(crate) fn says_outcome(&self) -> bool {
        match self.action {
            Action::Start { quiet } | Action::Restart { quiet, .. } => !quiet,
            _ => false,
        }
    }

    /// Runs another command.
    ///
    /// `configured` has the fault of the configuration; `settings` that of the settings, or checks
    /// what they name; `privileged_init` says that there is such a hook.
    pub(crate) fn run_command(
        &self,
        configured: Result<(), Failure>,
        settings: Result<impl FnOnce() -> Result<(), Error>, Error>,
        privileged_init: bool,
    ) -> Result<ExitCode, Failure> {
        let name = self.get_name();
        match &self.action {
            Action::Start { .. } | Action::Run | Action::Restart { .. } => {}
            Action::Stop { timeout, quiet } => {
                let pidfile = self.known_pidfile(configured)?;
                let stopped = self.stop(&pidfile, timeout.unwrap_or(self.patience()))?;
                say(*quiet, &stopped);
            }
            Action::Kill { signal } => {
                let control = self.control(&self.known_pidfile(configured)?);
                control.signal(*signal)?;
            }
            Action::Status { json } => return self.show_status(configured, *json),
            Action::Logs { lines, follow } => return self.show_log(configured, *lines, *follow),
            Action::Check { quiet } => {
                configured?;
                check(settings)?;
                if !quiet {
                    output::line(&format!("{name}: configuration is good"))?;
                }
            }
            Action::Reload { timeout, quiet } => {
                configured?;
                let control = self.control(&self.known_pidfile(Ok(()))?);
                check(settings)?;
                say(
                    *quiet,
                    match control.reload(*timeout)? {
                        Reloaded::Done => "reloaded",
                        Reloaded::Requested => "was told to reload",
                    },
                );
            }
            Action::Unit {
                manager,
                user,
                template,
                arguments,
            } => {
                configured?;
                settings?;
                let options = UnitOptions::new("unit", self, arguments.clone(), privileged_init)
                    .scope(scope(*user))
                    .template(template.clone());
                let files = unit::service_files(self, *manager, &options)?;
                output::line(files.printed().trim_end())?;
            }
            Action::Install { .. }
            | Action::Uninstall { .. }
            | Action::Enable { .. }
            | Action::Disable { .. } => {
                self.change_installation(configured, settings, privileged_init)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs one of the commands for which the configuration need not be good, but for `install`.
    fn change_installation(
        &self,
        configured: Result<(), Failure>,
        settings: Result<impl FnOnce() -> Result<(), Error>, Error>,
        privileged_init: bool,
    ) -> Result<(), Failure> {
        let run = |dry| if dry { Run::Dry } else { Run::Real };
        let (manager, user, task, run) = match &self.action {
            Action::Install {
                manager,
                user,
                now,
                dry_run,
                arguments,
            } => {
                configured?;
                check(settings)?;
                let options = UnitOptions::new("install", self, arguments.clone(), privileged_init)
                    .scope(scope(*user));
                let start = if *now { Start::Now } else { Start::AtBoot };
                (manager, user, Task::Install(options, start), run(*dry_run))
            }
            Action::Uninstall {
                manager,
                user,
                dry_run,
            } => (manager, user, Task::Uninstall, run(*dry_run)),
            Action::Enable { manager, user } => {
                (manager, user, Task::Switch(Switch::On), Run::Real)
            }
            Action::Disable { manager, user } => {
                (manager, user, Task::Switch(Switch::Off), Run::Real)
            }
            _ => return Ok(()),
        };
        install::run(self, *manager, scope(*user), &task, run)?;
        Ok(())
    }

    /// Returns the pidfile. Where `configure` has failed, the one that was set until then: such a
    /// service can be controlled, too.
    fn known_pidfile(&self, configured: Result<(), Failure>) -> Result<PathBuf, Failure> {
        let pidfile = places::pidfile(self).map_err(Error::in_look_up)?;
        match (pidfile, configured) {
            (Some(pidfile), Ok(())) => Ok(pidfile),
            (Some(pidfile), Err(failure)) => {
                log::print(Severity::LOG_WARNING, &failure.text);
                Ok(pidfile)
            }
            (None, Ok(())) => Err(Error::no_pidfile().into()),
            (None, Err(failure)) => Err(failure),
        }
    }

    fn show_status(
        &self,
        configured: Result<(), Failure>,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let (name, is_broken) = (self.get_name(), configured.is_err());
        let answer = match self.known_pidfile(configured) {
            Ok(pidfile) => Answer::find(self, &name, &self.control(&pidfile), &pidfile),
            Err(failure) if is_broken || failure.kind == Some(ErrorKind::Unknown) => {
                let why = format!("{}: the pidfile is not known", failure.text);
                Answer::unknown(self, &name, why)
            }
            Err(failure) => return Err(failure),
        };
        let text = if json { answer.json() } else { answer.text() };
        match output::line(&text) {
            Ok(()) => Ok(answer.exit_code()),
            Err(error) => Err(Failure {
                status: UNKNOWN,
                kind: None,
                ..Failure::from(error)
            }),
        }
    }

    /// Returns what was done.
    fn stop(&self, pidfile: &Path, timeout: Duration) -> Result<String, Error> {
        let stopped = keeper::stop(&self.control(pidfile), timeout);
        let stopped = stopped.map_err(|error| error.in_command("stop"))?;
        Ok(match stopped {
            Stopped::NotRunning => "is not running".to_owned(),
            Stopped::Terminated { pid } => format!("stopped: pid {pid}"),
            Stopped::Killed { pid } if timeout.is_zero() => format!("stopped: pid {pid}, killed"),
            Stopped::Killed { pid } => format!("stopped: pid {pid}, killed after {timeout:?}"),
        })
    }

    fn control(&self, pidfile: &Path) -> Control {
        if self.leaves_pidfile() {
            Control::leaving_pidfile(pidfile)
        } else {
            Control::new(pidfile)
        }
    }

    /// Tells whether the service cannot remove its pidfile at its end: another user has no right
    /// to, and inside a chroot its path is not to be found.
    fn leaves_pidfile(&self) -> bool {
        geteuid().is_root() && (self.gives_up_root() || self.chroot.is_some())
    }

    /// Tells whether the service runs as another user than root.
    pub(super) fn gives_up_root(&self) -> bool {
        match &self.user {
            Some(user) => !matches!(user.to_string().as_str(), "root" | "0"),
            None => false,
        }
    }
}

fn scope(user: bool) -> Scope {
    if user { Scope::User } else { Scope::System }
}

/// Checks the settings, all of which are part of the configuration.
fn check(settings: Result<impl FnOnce() -> Result<(), Error>, Error>) -> Result<(), Failure> {
    let checked = match settings {
        Ok(check) => check(),
        Err(error) => Err(error),
    };
    checked.map_err(|error| Failure {
        status: status::NOT_CONFIGURED,
        ..Failure::from(error)
    })
}

fn say(quiet: bool, outcome: &str) {
    if !quiet {
        log::say(outcome);
    }
}
