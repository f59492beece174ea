//! The control commands, carried out.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::geteuid;

use super::status::Answer;
use super::unit::{self, UnitOptions};
use crate::control::{Control, Reloaded, Stopped, keeper};
use crate::daemon::Daemon;
use crate::daemon::action::Action;
use crate::error::Error;

impl Daemon {
    /// Runs the control command. Returns `None` if a start is to follow.
    ///
    /// `pidfile` is that of the settings; `privileged_init` says that there is such a hook.
    pub(crate) fn run_command(
        &self,
        pidfile: Option<&Path>,
        privileged_init: bool,
    ) -> Result<Option<ExitCode>, Error> {
        let name = self.get_name();
        match &self.action {
            Action::Start | Action::Run => return Ok(None),
            Action::Restart { .. } => {
                required(pidfile)?;
                return Ok(None);
            }
            Action::Stop { timeout } => self.stop(&name, required(pidfile)?, *timeout)?,
            Action::Reload { timeout } => {
                match self.control(required(pidfile)?).reload(*timeout)? {
                    Reloaded::Done => print_line(&format!("{name} has reloaded")),
                    Reloaded::Requested => print_line(&format!("{name} was told to reload")),
                }
            }
            Action::Status { json } => {
                let pidfile = required(pidfile)?;
                let answer = Answer::find(&name, &self.control(pidfile), pidfile);
                print_line(&if *json { answer.json() } else { answer.text() });
                return Ok(Some(answer.exit_code()));
            }
            Action::Unit {
                manager,
                description,
                listen,
            } => {
                let options =
                    UnitOptions::new(self, description.clone(), listen.clone(), privileged_init);
                print_line(unit::service_file(self, *manager, &options)?.trim_end());
            }
        }
        Ok(Some(ExitCode::SUCCESS))
    }

    fn stop(&self, name: &str, pidfile: &Path, timeout: Duration) -> Result<(), Error> {
        let stopped = keeper::stop(&self.control(pidfile), timeout);
        let line = match stopped.map_err(|error| error.in_command("stop"))? {
            Stopped::NotRunning => format!("{name} is not running"),
            Stopped::Terminated { pid } => format!("{name} has ended (pid {pid})"),
            Stopped::Killed { pid } => {
                format!("{name} did not end in {timeout:?} and was killed (pid {pid})")
            }
        };
        print_line(&line);
        Ok(())
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

fn required(pidfile: Option<&Path>) -> Result<&Path, Error> {
    if let Some(pidfile) = pidfile {
        return Ok(pidfile);
    }
    let problem = "the control commands find the service by its pidfile: set one";
    Err(Error::usage("pidfile", problem))
}

/// Prints a line. A closed standard output is not an error.
fn print_line(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}
