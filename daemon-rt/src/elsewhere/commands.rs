//! The control commands, of which there are `start` and `run`.

use crate::daemon::Daemon;
use crate::daemon::action::Action;
use crate::error::{Error, Failure};

/// The status of `status` for a service of which nothing is known, as LSB has it.
const UNKNOWN: u8 = 4;

impl Daemon {
    /// Refuses a command that cannot be carried out. `start` and `run` are the same.
    pub(crate) fn check_command(&self) -> Result<(), Failure> {
        let verb = match self.action {
            Action::Start | Action::Run => return Ok(()),
            Action::Stop { .. } => "stop",
            Action::Restart { .. } => "restart",
            Action::Reload { .. } => "reload",
            Action::Status { .. } => "look the service up",
            Action::Unit { .. } => "print a service file",
        };
        let mut failure = Failure::from(Error::unavailable(verb));
        if let Action::Status { .. } = self.action {
            failure.status = UNKNOWN;
        }
        Err(failure)
    }
}
