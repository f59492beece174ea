//! Control commands on the service's own command line (feature `cli`).
//!
//! A service without arguments of its own needs only the argument `cli` of the attribute. One that
//! has arguments embeds [`Action`] in its parser as clap's subcommand:
//!
//! ```no_run
//! use std::io;
//!
//! use clap::Parser;
//! use daemon_rt::cli::Action;
//! use daemon_rt::{Daemon, daemon, shutdown};
//!
//! #[derive(Parser)]
//! struct Options {
//!     #[arg(long, default_value = "hello")]
//!     greeting: String,
//!     #[command(subcommand)]
//!     action: Option<Action>,
//! }
//!
//! #[daemon(pidfile = "/run/greeter.pid", configure = configure)]
//! fn main(greeting: String) {
//!     // … greet, then:
//!     shutdown().wait();
//! }
//!
//! fn configure(daemon: &mut Daemon) -> io::Result<String> {
//!     let options = Options::parse();
//!     daemon.action(options.action.unwrap_or_default());
//!     Ok(options.greeting)
//! }
//! ```

mod status;
mod unit;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use nix::unistd::geteuid;

use self::status::Answer;
use self::unit::UnitOptions;
use crate::control::{Control, Reloaded, Stopped, keeper};
pub use crate::daemon::action::{Action, Manager};
use crate::daemon::{Daemon, Mode};
use crate::error::Error;

/// Start and control the service
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
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Daemon {
    /// Gives the service the control commands as its command line: `start` (also without a
    /// command), `stop`, `restart`, `reload`, `status`, `run`, `unit`, `completions`, `--help` and
    /// `--version`, which prints `version`.
    ///
    /// It also gives the service a [`control_socket`](Self::control_socket).
    pub fn cli(&mut self, version: impl Into<String>) -> &mut Self {
        self.version = Some(version.into());
        self.control_socket()
    }

    /// Sets the control command to carry out, and gives the service a
    /// [`control_socket`](Self::control_socket). [`Action::Start`] if not set.
    pub fn action(&mut self, action: Action) -> &mut Self {
        match action {
            Action::Restart { timeout } => _ = self.restart(timeout),
            Action::Run => self.mode = Mode::Foreground,
            _ => {}
        }
        self.action = action;
        self.control_socket()
    }

    /// Reads the command line, if it is this library's to read. The process ends here for
    /// `--help`, `--version`, completions and usage errors.
    pub(crate) fn read_command_line(&mut self) {
        let Some(version) = self.version.clone() else {
            return;
        };
        let name = self.get_name();
        let mut parser = CommandLine::command()
            .name(name.clone())
            .bin_name(name.clone())
            .version(version);
        let line = match CommandLine::from_arg_matches(&parser.clone().get_matches()) {
            Ok(line) => line,
            Err(error) => error.exit(),
        };
        match line.command {
            None => {}
            Some(Command::Action(action)) => _ = self.action(action),
            Some(Command::Completions { shell }) => {
                clap_complete::generate(shell, &mut parser, name, &mut io::stdout());
                std::process::exit(0);
            }
        }
    }

    /// Tells whether the word `start` was typed: under systemd it may mean more than a bare call.
    pub(crate) fn start_is_typed(&self) -> bool {
        self.is_to_start() && std::env::args_os().skip(1).any(|word| word == "start")
    }

    pub(crate) fn is_to_start(&self) -> bool {
        self.action == Action::Start
    }

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
    fn gives_up_root(&self) -> bool {
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
