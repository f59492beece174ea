//! The control commands, of which there are `start` and `run`.

use super::settings;
use crate::cli::output;
use crate::daemon::Daemon;
use crate::daemon::action::Action;
use crate::error::{Error, Failure};
use crate::status;

/// The status of `status` for a service of which nothing is known, as LSB has it.
const UNKNOWN: u8 = 4;

impl Daemon {
    /// Refuses a command that cannot be carried out. `start` and `run` are the same.
    pub(crate) fn check_command(&self) -> Result<(), Failure> {
        let verb = match self.action {
            Action::Start { .. } | Action::Run => return Ok(()),
            Action::Stop { .. } => "stop",
            Action::Restart { .. } => "restart",
            Action::Reload { .. } => "reload",
            Action::Kill { .. } => "send a signal",
            Action::Status { .. } => "look the service up",
            Action::Logs { .. } => "show the log",
            Action::Unit { .. } => "print a service file",
            Action::Install { .. } => "install",
            Action::Uninstall { .. } => "uninstall",
            Action::Enable { .. } => "enable",
            Action::Disable { .. } => "disable",
            Action::Check { quiet } => return self.check(quiet),
        };
        let mut failure = Failure::from(Error::unavailable(verb));
        if let Action::Status { .. } = self.action {
            failure.status = UNKNOWN;
        }
        Err(failure)
    }

    /// Checks the settings. The process ends here if they are good.
    fn check(&self, quiet: bool) -> Result<(), Failure> {
        if let Err(error) = settings::check(self) {
            return Err(Failure {
                status: status::NOT_CONFIGURED,
                ..Failure::from(error)
            });
        }
        if !quiet {
            output::line(&format!("{}: configuration is good", self.get_name()))?;
        }
        std::process::exit(0)
    }
}
