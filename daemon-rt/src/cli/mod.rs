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
//!     // … read the configuration
//!     Ok(options.greeting)
//! }
//! ```
//!
//! Call [`Daemon::action`], and [`Daemon::pidfile`] where `configure` sets it, before what can fail:
//! `stop`, `kill` and `status` work with a broken configuration, too, by the pidfile that is set until
//! then. [`Daemon::cli`] in `configure` tells `status` the version.

#[cfg(unix)]
mod commands;
pub(crate) mod output;
#[cfg(unix)]
mod status;
#[cfg(unix)]
mod unit;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

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
    /// command), `stop`, `restart`, `reload`, `kill`, `status`, `check`, `run`, `unit`, `completions`,
    /// `--help` and `--version`, which prints `version`.
    ///
    /// It also gives the service a [`control_socket`](Self::control_socket). In `configure` the command
    /// line has been read already: there it gives these two alone, the version and the socket, to a
    /// service that embeds [`Action`].
    pub fn cli(&mut self, version: impl Into<String>) -> &mut Self {
        self.version = Some(version.into());
        self.control_socket()
    }

    /// Sets the control command to carry out, and gives the service a
    /// [`control_socket`](Self::control_socket). [`Action::default`] if not set.
    pub fn action(&mut self, action: Action) -> &mut Self {
        match action {
            Action::Restart { timeout, .. } => _ = self.restart(timeout),
            Action::Run => self.mode = Mode::Foreground,
            _ => {}
        }
        self.action = action;
        self.control_socket()
    }

    /// Reads the command line, if it is this library's to read. The process ends here for
    /// `--help`, `--version`, completions and usage errors.
    ///
    /// # Errors
    /// If the completions cannot be written.
    pub(crate) fn read_command_line(&mut self) -> Result<(), Error> {
        let Some(version) = self.version.clone() else {
            return Ok(());
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
                // It panics where it cannot write.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut parser, name, &mut script);
                output::print(&script)?;
                std::process::exit(0);
            }
        }
        Ok(())
    }

    /// Tells whether the word `start` was typed: under systemd it may mean more than a bare call.
    pub(crate) fn start_is_typed(&self) -> bool {
        self.is_to_start() && std::env::args_os().skip(1).any(|word| word == "start")
    }

    pub(crate) fn is_to_start(&self) -> bool {
        matches!(self.action, Action::Start { .. })
    }
}
