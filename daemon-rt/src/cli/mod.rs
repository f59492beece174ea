//! The control commands on a service's own command line (feature `cli`).

pub(crate) mod unit;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use nix::unistd::geteuid;

use crate::cli::unit::{Facts, Manager};
use crate::control::keeper::{self, Keeper};
use crate::control::{Control, Reloaded, Status, Stopped};
use crate::daemon::{Daemon, Mode};
use crate::error::Error;
use crate::report::log;
use crate::sys;

/// What a service is told to do on its command line; [`Daemon::action`] has it done.
///
/// A service with arguments of its own embeds it in its parser as a clap subcommand, and hands it
/// to the `Daemon` that its `configure` hook receives. The argument `cli` of the attribute does
/// both for a service without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
#[non_exhaustive]
pub enum Action {
    /// Start the service, and return when it is ready
    #[default]
    Start,
    /// End the service, by its manager if it has one, and return when it has ended
    Stop {
        /// How long it may take before it is killed
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
        timeout: Duration,
    },
    /// Start the service anew, by its manager if it has one; else, where it can hand its sockets
    /// over, without losing a connection
    Restart {
        /// How long the old instance may take to end before it is killed: after a hand-over too,
        /// which cuts requests that take longer. This command waits for that end
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
        timeout: Duration,
    },
    /// Have the service read its configuration again, and return when it has, if the service says
    /// so
    Reload {
        /// How long it may take
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        timeout: Duration,
    },
    /// Say whether the service runs, and who runs it, with the exit status that LSB gives it: 0 it
    /// does, 1 it died, 3 it does not, 4 unknown or still starting
    Status {
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run the service in the foreground
    Run,
    /// Print a service file for a manager
    Unit {
        /// The manager
        manager: Manager,
        /// What the service is, in a line
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// A stream socket that the manager opens for the service (systemd prints a .socket for
        /// it): a port, ADDRESS:PORT or a path
        #[arg(long, value_name = "SOCKET")]
        listen: Vec<String>,
    },
}

/// The command line of a service that has no arguments of its own.
#[derive(Parser)]
#[command(disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Action(Action),
    /// Print the completions of this command line for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

impl Daemon {
    /// Gives the service the control commands as its command line: `start` (also without any),
    /// `stop`, `restart`, `reload`, `status`, `run`, `unit`, `completions`, `--help` and
    /// `--version`, which prints `version`.
    ///
    /// It also gives the service a control socket beside its pidfile, named as this with `.control`
    /// behind it.
    pub fn cli(&mut self, version: impl Into<String>) -> &mut Self {
        self.version = Some(version.into());
        self.control_socket()
    }

    /// Has the service do this instead of starting, and gives it a control socket beside its
    /// pidfile.
    pub fn action(&mut self, action: Action) -> &mut Self {
        match action {
            Action::Restart { timeout } => _ = self.restart(timeout),
            Action::Run => self.mode = Mode::Foreground,
            _ => {}
        }
        self.action = action;
        self.control_socket()
    }

    /// Reads the command line, if it is this library's to read. For `--help` and the like the
    /// process ends here.
    pub(crate) fn read_command_line(&mut self) {
        let Some(version) = self.version.clone() else {
            return;
        };
        let name = self.get_name();
        let mut parser = CommandLine::command()
            .name(name.clone())
            .bin_name(name.clone())
            .version(version);
        let line = CommandLine::from_arg_matches(&parser.clone().get_matches());
        match line.unwrap_or_else(|error| error.exit()).command {
            None => {}
            Some(Command::Action(action)) => _ = self.action(action),
            Some(Command::Completions { shell }) => {
                clap_complete::generate(shell, &mut parser, name, &mut io::stdout());
                std::process::exit(0);
            }
        }
    }

    /// Whether the word `start` was typed: it may mean more than a bare call.
    pub(crate) fn start_is_typed(&self) -> bool {
        self.is_to_start() && std::env::args_os().skip(1).any(|word| word == "start")
    }

    pub(crate) fn is_to_start(&self) -> bool {
        self.action == Action::Start
    }

    /// Does what is no start; `None` where a start is to follow. `pidfile` is that of the settings;
    /// `privileged_init` says whether there is such a hook.
    pub(crate) fn perform(
        &self,
        pidfile: Option<&Path>,
        privileged_init: bool,
    ) -> Result<Option<ExitCode>, Error> {
        let name = self.get_name();
        let pidfile = || {
            let problem = "the control commands find the service by its pidfile: set one";
            pidfile.ok_or_else(|| Error::usage("pidfile", problem))
        };
        let control = || -> Result<Control, Error> {
            let pidfile = pidfile()?;
            Ok(if self.leaves_pidfile() {
                Control::leaving_pidfile(pidfile)
            } else {
                Control::new(pidfile)
            })
        };
        match &self.action {
            Action::Start | Action::Run => return Ok(None),
            Action::Restart { .. } => return control().map(|_| None),
            Action::Stop { timeout } => match keeper::stop(&control()?, *timeout)? {
                Stopped::NotRunning => say(&format!("{name} is not running")),
                Stopped::Terminated { pid } => say(&format!("{name} has ended (pid {pid})")),
                Stopped::Killed { pid } => {
                    say(&format!(
                        "{name} did not end in {timeout:?} and was killed (pid {pid})"
                    ));
                }
            },
            Action::Reload { timeout } => match control()?.reload(*timeout)? {
                Reloaded::Done => say(&format!("{name} has reloaded")),
                Reloaded::Requested => say(&format!("{name} was told to reload")),
            },
            Action::Status { json } => {
                // A pidfile that must not be trusted tells nothing, and LSB has a status for that.
                let status = control()?
                    .status()
                    .unwrap_or_else(|error| Status::Unknown(error.to_string()));
                let keeper = match status {
                    Status::Running { pid, .. } => {
                        keeper::find_keeper(sys::pid_of(pid), pidfile()?).unwrap_or_default()
                    }
                    _ => None,
                };
                let old = control()?.old_instances().unwrap_or_default();
                let print = if *json { as_json } else { as_text };
                say(&log::printable(&print(
                    &name,
                    &status,
                    keeper.as_ref(),
                    &old,
                )));
                return Ok(Some(lsb(&status)));
            }
            Action::Unit {
                manager,
                description,
                listen,
            } => {
                let facts = Facts::here(self, description.clone(), listen.clone(), privileged_init);
                say(unit::print(self, *manager, &facts)?.trim_end());
            }
        }
        Ok(Some(ExitCode::SUCCESS))
    }
}

impl Daemon {
    /// Whether the service cannot remove its pidfile at its end: as another user it may not, and
    /// from inside a chroot it does not find it.
    fn leaves_pidfile(&self) -> bool {
        let other_user = self
            .user
            .as_ref()
            .is_some_and(|user| !matches!(user.to_string().as_str(), "root" | "0"));
        geteuid().is_root() && (other_user || self.chroot.is_some())
    }
}

/// Prints a line. That nobody reads it is no error.
fn say(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

fn as_text(name: &str, status: &Status, keeper: Option<&Keeper>, old: &[u32]) -> String {
    let mut text = match status {
        Status::Running { pid, since } => {
            let date = |seconds| {
                humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds))
            };
            let since = since
                .as_ref()
                .and_then(seconds)
                .map_or_else(String::new, |since| format!(", since {}", date(since)));
            let by = keeper.map_or_else(String::new, |by| {
                format!(", run by {} ({})", by.manager, by.service)
            });
            format!("{name} is running: pid {pid}{since}{by}")
        }
        Status::RunningElsewhere { pid } => {
            format!("{name} is running in another pid namespace, as pid {pid} there")
        }
        Status::Starting { pid: Some(pid) } => format!("{name} is starting: pid {pid}"),
        Status::Starting { pid: None } => format!("{name} is starting"),
        Status::Dead { pid: Some(pid) } => {
            format!("{name} is dead: its pidfile still names pid {pid}")
        }
        Status::Dead { pid: None } => {
            format!("{name} is dead: its pidfile is still there, and names nobody")
        }
        Status::NotRunning => format!("{name} is not running"),
        Status::Unknown(why) => format!("{name} may or may not run: {why}"),
    };
    for pid in old {
        text.push_str("\nan older instance is still ending: pid ");
        text.push_str(&pid.to_string());
    }
    text
}

fn as_json(name: &str, status: &Status, keeper: Option<&Keeper>, old: &[u32]) -> String {
    let (word, pid, more) = match status {
        Status::Running { pid, since } => {
            let since = since
                .as_ref()
                .and_then(seconds)
                .map_or_else(String::new, |since| format!(",\"since\":{since}"));
            let by = keeper.map_or_else(String::new, |by| {
                format!(
                    ",\"manager\":{},\"service\":{}",
                    json_string(by.manager),
                    json_string(&by.service)
                )
            });
            ("running", Some(pid), format!("{since}{by}"))
        }
        // No signal must be sent to this number here.
        Status::RunningElsewhere { pid } => {
            ("running elsewhere", None, format!(",\"pid_there\":{pid}"))
        }
        Status::Starting { pid } => ("starting", pid.as_ref(), String::new()),
        Status::Dead { pid } => ("dead", pid.as_ref(), String::new()),
        Status::NotRunning => ("not running", None, String::new()),
        Status::Unknown(why) => ("unknown", None, format!(",\"reason\":{}", json_string(why))),
    };
    let pid = pid.map_or_else(String::new, |pid| format!(",\"pid\":{pid}"));
    let old = if old.is_empty() {
        String::new()
    } else {
        format!(",\"old\":{old:?}")
    };
    format!(
        "{{\"name\":{},\"status\":\"{word}\"{pid}{more}{old}}}",
        json_string(name)
    )
}

/// The seconds since 1970 of a time that can be written as a date; `None` where the clock is far
/// off.
fn seconds(time: &SystemTime) -> Option<u64> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10000).then_some(seconds)
}

fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if log::steers(c) => quoted.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// The exit status that the Linux Standard Base gives `status`.
fn lsb(status: &Status) -> ExitCode {
    ExitCode::from(match status {
        Status::Running { .. } | Status::RunningElsewhere { .. } => 0,
        Status::Dead { .. } => 1,
        Status::NotRunning => 3,
        // Neither running, for a client would find nothing yet, nor not running: LSB has no status
        // for that.
        Status::Starting { .. } | Status::Unknown(_) => 4,
    })
}
