//! Control commands on the service's own command line (feature `cli`).
//!
//! A service without arguments of its own needs only the argument `cli` of the attribute. One that
//! has arguments embeds [`Action`] in its parser as clap's subcommand:
//!
//! ```no_run
//! use std::io;
//!
//! use clap::Parser;
//! use daemon_rt::cli::{self, Action};
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
//!     let options: Options = cli::parse();
//!     daemon.action(options.action.unwrap_or_default());
//!     // … read the configuration
//!     Ok(options.greeting)
//! }
//! ```
//!
//! Call [`Daemon::action`], and [`Daemon::pidfile`] where `configure` sets it, before what can fail:
//! `stop`, `kill`, `status` and `logs` work with a broken configuration, too, by the pidfile that is set until
//! then. [`Daemon::cli`] in `configure` tells `status` the version.

#[cfg(unix)]
mod commands;
#[cfg(unix)]
mod install;
#[cfg(unix)]
mod listening;
#[cfg(unix)]
mod logs;
mod man;
pub(crate) mod output;
#[cfg(unix)]
mod status;
#[cfg(unix)]
mod unit;

use std::env;
use std::process;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

pub use crate::daemon::action::{Action, Manager, UnitArguments};
use crate::daemon::{Daemon, Mode};
use crate::error::Error;
use crate::report::log;
#[cfg(unix)]
use crate::report::notify::notifier;

/// Start and control the service
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    action: Option<Action>,
}

// The commands about the command line itself. (A doc comment would be the text of `--help`.)
#[derive(Subcommand)]
enum About {
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page, for man(1)
    ///
    /// To read it: `man -l <(NAME man)`.
    Man,
}

impl Daemon {
    /// Gives the service the control commands as its command line: `start` (also without a
    /// command), `stop`, `restart`, `reload`, `kill`, `status`, `logs`, `check`, `run`, `unit`, `install`,
    /// `uninstall`, `enable`, `disable`, `completions`,
    /// `man`, `help`, `--help` and `--version`, which prints `version`.
    ///
    /// It also gives the service a [`control_socket`](Self::control_socket). In `configure` the command
    /// line has been read already: there it gives these two alone, the version and the socket, to a
    /// service that embeds [`Action`].
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.cli(env!("CARGO_PKG_VERSION"));
    /// ```
    pub fn cli(&mut self, version: impl Into<String>) -> &mut Self {
        self.version = Some(version.into());
        self.control_socket()
    }

    /// Sets the control command to carry out, and gives the service a
    /// [`control_socket`](Self::control_socket). [`Action::default`] if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.action(daemon_rt::cli::Action::Run);
    /// assert_eq!(daemon.get_mode(), daemon_rt::Mode::Foreground);
    /// ```
    pub fn action(&mut self, action: Action) -> &mut Self {
        match action {
            Action::Restart { timeout, .. } => _ = self.restart_within(timeout),
            Action::Run => self.mode = Mode::Foreground,
            _ => {}
        }
        self.action = action;
        #[cfg(unix)]
        if !self.starts() {
            notifier().leave();
        }
        self.control_socket()
    }

    /// Reads the command line, if it is this library's to read. The process ends here for
    /// `--help`, `--version`, completions, the manual page and usage errors.
    ///
    /// # Errors
    /// If what was asked for cannot be written.
    pub(crate) fn read_command_line(&mut self) -> Result<(), Error> {
        let Some(version) = self.version.clone() else {
            return Ok(());
        };
        let name = self.get_name();
        let parser = CommandLine::command().name(name.clone()).bin_name(name);
        let line: CommandLine = read(parser.version(version))?;
        if let Some(action) = line.action {
            self.action(action);
        }
        Ok(())
    }

    /// Tells whether the word `start` was typed: under systemd it may mean more than a bare call.
    pub(crate) fn start_is_typed(&self) -> bool {
        self.is_to_start() && env::args_os().skip(1).any(|word| word == "start")
    }

    pub(crate) fn is_to_start(&self) -> bool {
        matches!(self.action, Action::Start { .. })
    }
}

/// Reads the command line with the program's own parser, to which it gives the commands
/// `completions` and `man`.
///
/// As [`clap::Parser::parse`] it ends the process for these, for `--help`, `--version` and usage
/// errors. It does not set the [`action`](Daemon::action).
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use clap::Parser;
/// use daemon_rt::Daemon;
/// use daemon_rt::cli::{self, Action};
///
/// #[derive(Parser)]
/// struct Options {
///     #[command(subcommand)]
///     action: Option<Action>,
/// }
///
/// fn configure(daemon: &mut Daemon) -> Result<(), Infallible> {
///     let options: Options = cli::parse();
///     daemon.action(options.action.unwrap_or_default());
///     Ok(())
/// }
/// ```
pub fn parse<P: Parser>() -> P {
    match read(P::command()) {
        Ok(options) => options,
        Err(error) => {
            log::error(&error.to_string());
            process::exit(1);
        }
    }
}

/// Reads the command line, or does what it asks for and ends the process.
fn read<P: FromArgMatches>(parser: clap::Command) -> Result<P, Error> {
    let mut parser = About::augment_subcommands(parser);
    let options = match parser.try_get_matches_from_mut(env::args_os()) {
        Ok(matches) => match About::from_arg_matches(&matches) {
            Ok(about) => {
                output::print(&about.text(parser))?;
                process::exit(0);
            }
            // It is another command.
            Err(_) => P::from_arg_matches(&matches),
        },
        Err(error) => Err(error),
    };
    match options {
        Ok(options) => Ok(options),
        Err(error) => match output::exit(&error.format(&mut parser))? {},
    }
}

impl About {
    fn text(&self, mut parser: clap::Command) -> Vec<u8> {
        // As it was called, which clap knows by now.
        if let Some(name) = parser.get_bin_name() {
            parser = parser.clone().name(name.to_owned());
        }
        match self {
            Self::Completions { shell } => {
                // It panics where it cannot write.
                let mut script = Vec::new();
                let name = parser.get_name().to_owned();
                clap_complete::generate(*shell, &mut parser, name, &mut script);
                script
            }
            Self::Man => man::page(parser),
        }
    }
}
