//! `Action`: the control command to carry out, as the user gave it.

use std::fmt;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::sys;

/// A control command, which [`Daemon::action`](crate::Daemon::action) carries out.
///
/// On success each of `start`, `stop`, `restart` and `reload` says in one line what it has done.
/// Without a command the service is started as by `start`, and no word is said:
/// `Action::default()`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[non_exhaustive]
pub enum Action {
    /// Start the service and wait until it is ready (the default)
    Start {
        /// Leave out the line that says what was done
        #[arg(short, long)]
        quiet: bool,
    },
    /// Stop the service and wait until it has ended
    ///
    /// If a service manager runs it, the manager stops it.
    Stop {
        /// How long to wait before the service is killed [default: 10s, or 5s more than the service has
        /// to end]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Leave out the line that says what was done
        #[arg(short, long)]
        quiet: bool,
    },
    /// Restart the service and wait until it is ready
    ///
    /// If a service manager runs it, the manager restarts it. Otherwise the new instance takes over
    /// the sockets of the old one, if it can, and no connection is lost.
    Restart {
        /// How long to wait before the old instance is killed, with the requests that it still serves
        /// [default: as for stop]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
        /// Leave out the line that says what was done
        #[arg(short, long)]
        quiet: bool,
    },
    /// Reload the configuration and wait until that is done
    ///
    /// A service that handles SIGHUP itself does not report when it is done: it is not waited for.
    Reload {
        /// How long to wait before this command fails
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
        timeout: Duration,
        /// Leave out the line that says what was done
        #[arg(short, long)]
        quiet: bool,
    },
    /// Send a signal to the service's main process
    Kill {
        /// Its name, with or without SIG, or its number
        #[arg(value_parser = signal, allow_hyphen_values = true)]
        signal: i32,
    },
    /// Show whether the service runs, who runs it, what it does and what it uses
    ///
    /// Exit status, as LSB has it: 0 running, 1 dead, 3 not running, 4 starting or unknown.
    Status {
        /// Print a JSON object, which has the same members in any state
        #[arg(long)]
        json: bool,
    },
    /// Show the end of the service's log
    ///
    /// It is the log of the process that runs or, if none does, the one that is set. A file is shown by
    /// tail(1), the journal by journalctl(1), the exit status of which is this command's.
    Logs {
        /// Go on with what is written later, also after the log was rotated
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
        lines: u32,
    },
    /// Check the configuration, and change nothing
    ///
    /// It looks at the settings, the names of users and groups, the working directory, the chroot, the
    /// processors and what is at the paths of the logs. It opens no pidfile, log or socket, and tries no limits.
    ///
    /// Exit status: 0 if they are good, or else 78.
    Check {
        /// Say nothing if it is good
        #[arg(short, long)]
        quiet: bool,
    },
    /// Run the service in the foreground
    Run,
    /// Print a service file for a service manager
    Unit {
        /// The service manager or tool
        manager: Manager,
        /// For systemd as a user's own manager
        #[arg(long)]
        user: bool,
        /// For any number of instances under systemd: the name, among the arguments before `unit`, of
        /// one
        #[arg(long, value_name = "INSTANCE")]
        template: Option<String>,
        /// What the settings do not say
        #[command(flatten)]
        arguments: UnitArguments,
    },
    /// Install the service: write its file for the service manager, and have it started at boot
    ///
    /// A file that was changed, or that is not from this command, is left alone: that is an error.
    Install {
        /// The service manager; the one that runs here if left out
        #[arg(value_parser = manager_that_installs())]
        manager: Option<Manager>,
        /// As the caller's own service, under their own systemd
        #[arg(long)]
        user: bool,
        /// Start it, too
        #[arg(long)]
        now: bool,
        /// Print the files and commands, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// What the settings do not say
        #[command(flatten)]
        arguments: UnitArguments,
    },
    /// Stop the service by its manager, and remove what `install` has written
    Uninstall {
        /// The service manager; the one that runs here if left out
        #[arg(value_parser = manager_that_installs())]
        manager: Option<Manager>,
        /// The caller's own service
        #[arg(long)]
        user: bool,
        /// Print the commands, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Have the installed service started at boot
    Enable {
        /// The service manager; the one that runs here if left out
        #[arg(value_parser = manager_that_installs())]
        manager: Option<Manager>,
        /// The caller's own service
        #[arg(long)]
        user: bool,
    },
    /// Have the installed service not started at boot
    Disable {
        /// The service manager; the one that runs here if left out
        #[arg(value_parser = manager_that_installs())]
        manager: Option<Manager>,
        /// The caller's own service
        #[arg(long)]
        user: bool,
    },
}

/// What a service file says of the service that is not among its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[non_exhaustive]
pub struct UnitArguments {
    /// One line about the service
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub description: String,
    /// A socket that systemd opens for the service: PORT, ADDRESS:PORT or a path
    ///
    /// In full: NAME=SOCKET,datagram,mode=OCTAL,user=USER,group=GROUP. All but SOCKET may be left
    /// out. The service asks for it by the name; mode, user and group are those of a path.
    #[arg(long, value_name = "SOCKET")]
    pub listen: Vec<String>,
}

impl Default for Action {
    fn default() -> Self {
        Self::Start { quiet: true }
    }
}

/// A service manager, or a tool beside it, for which a file can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Manager {
    /// A .service unit, and a .socket unit with --listen
    Systemd,
    /// A script for openrc-run, supervised by supervise-daemon
    Openrc,
    /// A service directory, as a shell script that creates it
    S6,
    /// A source definition directory, in the same form
    S6Rc,
    /// A service directory, in the same form
    Runit,
    /// A section for its conf.d directory
    Supervisord,
    /// A property list for /Library/LaunchDaemons
    Launchd,
    /// An LSB init script
    Sysv,
    /// A service description for /etc/dinit.d
    Dinit,
    /// A script for rc.subr of FreeBSD
    #[value(name = "rc.d")]
    RcD,
    /// An init script for procd of OpenWrt
    Procd,
    /// The service's user, for systemd-sysusers
    Sysusers,
    /// The service's directories, for systemd-tmpfiles
    Tmpfiles,
    /// The rotation of the service's logs
    Logrotate,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

/// The service managers for which there is `install`.
fn manager_that_installs() -> impl TypedValueParser<Value = Manager> {
    let names = [
        "systemd",
        "openrc",
        "s6",
        "s6-rc",
        "runit",
        "supervisord",
        "sysv",
        "dinit",
    ];
    PossibleValuesParser::new(names).try_map(|name| Manager::from_str(&name, false))
}

fn signal(text: &str) -> Result<i32, &'static str> {
    // As for kill(1).
    let text = text.strip_prefix('-').unwrap_or(text);
    match sys::signal_number(text) {
        Some(number) => Ok(number),
        None => Err("no signal has this name or number"),
    }
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}
