//! The manager that runs a service, and what it is to do.

use std::io;
use std::process::Output;
use std::time::Duration;

use nix::unistd::Pid;

use super::command;

/// Time limit for a restart by the manager, the end of the old process included.
const RESTART: Duration = Duration::from_secs(180);

/// The manager that runs a service.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) manager: &'static str,
    /// The service, as the manager calls it.
    pub(crate) service: String,
    pub(super) remedy: Remedy,
    pub(super) caller: Caller,
    /// The control groups that the manager makes for this service alone.
    pub(crate) groups: Vec<String>,
    /// A command that the manager runs there now, beside the service.
    pub(crate) command: Option<Pid>,
}

/// The way to restart and stop the service.
#[derive(Debug)]
pub(super) enum Remedy {
    /// By these commands of the manager.
    Commands {
        restart: Vec<String>,
        stop: Vec<String>,
    },
    /// By a person, as this text says. The manager starts the service again when it ends.
    ByHand(String),
    /// By a person as well, but the manager ends with the service, or lets it end.
    RestartByHand(String),
}

/// The process that runs the control command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Anyone,
    /// The manager, for this service, by `ExecReload=` or an init script. It waits for the command,
    /// which must not call it back.
    Manager,
    /// A manager as well, which follows the pidfile to a new main process.
    ManagerThatFollows,
}

impl Keeper {
    pub(super) fn new(manager: &'static str, service: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            manager,
            service: service.into(),
            remedy,
            caller: Caller::Anyone,
            groups: Vec::new(),
            command: None,
        }
    }

    /// Has the manager restart the service. Returns the command.
    pub(super) fn restart(&self) -> io::Result<String> {
        match (&self.remedy, self.caller) {
            (Remedy::Commands { restart, .. }, Caller::Anyone) => run(restart, RESTART),
            _ => Err(self.refusal()),
        }
    }

    pub(super) fn starts_it_again(&self) -> bool {
        !matches!(self.remedy, Remedy::RestartByHand(_))
    }

    /// Tells the manager to stop the service, and not to start it again. If that takes too long,
    /// the caller is to kill the service.
    pub(super) fn stop(&self, patience: Duration) -> io::Result<()> {
        let Remedy::Commands { stop, .. } = &self.remedy else {
            return Err(self.refusal());
        };
        match run(stop, patience) {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(error),
            _ => Ok(()),
        }
    }

    /// Says what a person has to do.
    fn refusal(&self) -> io::Error {
        let (manager, service) = (self.manager, &self.service);
        io::Error::other(match &self.remedy {
            Remedy::ByHand(advice) | Remedy::RestartByHand(advice) => {
                format!("{manager} runs it ({service}): {advice}")
            }
            Remedy::Commands { restart, .. } => {
                let restart = restart.join(" ");
                format!(
                    "{manager} runs this command for {service}, and waits for it: run `{restart}` from elsewhere"
                )
            }
        })
    }
}

impl Remedy {
    pub(super) fn commands(restart: &[&str], stop: &[&str]) -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self::Commands {
            restart: words(restart),
            stop: words(stop),
        }
    }
}

/// Runs a command, which must succeed. Returns it as it is typed.
pub(crate) fn run(words: &[String], limit: Duration) -> io::Result<String> {
    let command = words.join(" ");
    match command::run(words, limit) {
        Ok(output) if output.status.success() => Ok(command),
        Ok(output) => Err(io::Error::other(format!(
            "`{command}`: {}",
            reason(&output)
        ))),
        Err(error) => Err(command::named(&command, &error)),
    }
}

/// Why a command has failed, in its own words if it has any.
fn reason(output: &Output) -> String {
    for text in [&output.stderr, &output.stdout] {
        let text = String::from_utf8_lossy(text).trim().replace('\n', "; ");
        if !text.is_empty() {
            return text;
        }
    }
    output.status.to_string()
}
