//! Service files: what a manager has to know of this service, printed from the service's own
//! settings.
//!
//! The files start the service as root where anything in its settings needs root, for the service
//! gives root up by itself, and verifies that: after the pidfile, which only root may forge, after
//! `privileged_init` and `chroot`. Only systemd can do the same beforehand, and does where there is
//! nothing of this (see [`systemd`]). What the service leaves to a manager in the foreground
//! (streams, umask, working directory) the files set to what the settings say; what these leave at
//! daemon(7)'s defaults (a umask of 0, `/dev/null`) is the manager's to choose.

mod launchd;
mod openrc;
mod quote;
mod scan;
mod supervisord;
mod systemd;
mod sysv;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::daemon::{Daemon, Pidfile};
use crate::error::Error;

/// A service manager that a service file can be printed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Manager {
    /// A .service, and a .socket where the service takes sockets
    Systemd,
    /// A script for openrc-run, supervised by supervise-daemon
    Openrc,
    /// A shell script that makes a service directory
    S6,
    /// A shell script that makes a service directory
    Runit,
    /// A section for its conf.d directory
    Supervisord,
    /// A property list for /Library/LaunchDaemons
    Launchd,
    /// An init script as LSB describes it
    Sysv,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value()
            .map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// What a service file says that is not among the settings.
pub(crate) struct Facts {
    /// One line; the service's name if empty.
    pub(crate) description: String,
    /// What stands before the command (`run`) on the service's command line.
    pub(crate) arguments: Vec<String>,
    /// SIGHUP has the service reload.
    pub(crate) reloads: bool,
    /// There is a `privileged_init`.
    pub(crate) privileged_init: bool,
    /// The addresses of the stream sockets that the service takes from its manager, as
    /// `ListenStream=` has them.
    pub(crate) sockets: Vec<String>,
}

impl Facts {
    /// What this binary's command line and hooks say: it is called in the service file with the
    /// arguments before `unit` that it was called with now.
    pub(crate) fn here(
        daemon: &Daemon,
        description: String,
        sockets: Vec<String>,
        privileged_init: bool,
    ) -> Self {
        let arguments = std::env::args_os()
            .skip(1)
            .map(|argument| argument.to_string_lossy().into_owned());
        let mut arguments: Vec<String> = arguments.collect();
        arguments.truncate(
            arguments
                .iter()
                .rposition(|argument| argument == "unit")
                .unwrap_or(0),
        );
        // Where the service does not reload, the command `reload` does no harm.
        Self {
            description,
            arguments,
            reloads: daemon.control_socket,
            privileged_init,
            sockets,
        }
    }
}

/// The service file for this very binary.
pub(crate) fn print(daemon: &Daemon, manager: Manager, facts: &Facts) -> Result<String, Error> {
    let executable = std::env::current_exe()
        .map_err(|error| refuse("the path of this binary", error.to_string()))?;
    unit(daemon, manager, &executable, facts)
}

/// What a service file says of the service, from its own settings.
pub(crate) fn unit(
    daemon: &Daemon,
    manager: Manager,
    executable: &Path,
    facts: &Facts,
) -> Result<String, Error> {
    let sheet = Sheet::new(daemon, executable, facts)?;
    match manager {
        Manager::Systemd => systemd::unit(&sheet),
        Manager::Openrc => Ok(openrc::script(&sheet)),
        Manager::S6 => Ok(scan::s6(&sheet)),
        Manager::Runit => Ok(scan::runit(&sheet)),
        Manager::Supervisord => supervisord::program(&sheet),
        Manager::Launchd => Ok(launchd::property_list(&sheet)),
        Manager::Sysv => sysv::script(&sheet),
    }
}

/// The settings as service files take them: text that every format can hold, and absolute paths.
struct Sheet<'a> {
    daemon: &'a Daemon,
    facts: &'a Facts,
    name: String,
    description: String,
    executable: String,
    /// `/` if not set; inside the `chroot` if there is one.
    directory: String,
    pidfile: Option<String>,
    stdout: Option<String>,
    stderr: Option<String>,
    chroot: Option<String>,
}

impl<'a> Sheet<'a> {
    fn new(daemon: &'a Daemon, executable: &Path, facts: &'a Facts) -> Result<Self, Error> {
        let name = daemon.get_name();
        if !is_plain_name(&name) {
            let problem = "a service file wants letters, digits, '-', '_' and '.', the first of them a letter or digit";
            return Err(refuse(format!("name {name:?}"), problem));
        }
        let directory = daemon
            .working_directory
            .clone()
            .unwrap_or_else(|| "/".into());
        // A relative one is the service's to resolve, in its working directory.
        let path = |setting, path: &Option<PathBuf>| {
            path.as_ref()
                .map(|path| text(setting, &directory.join(path).to_string_lossy()))
                .transpose()
        };
        let pidfile = match &daemon.pidfile {
            Some(Pidfile::Default) => Some(PathBuf::from(format!("/run/{name}.pid"))),
            Some(Pidfile::At(path)) => Some(path.clone()),
            None => None,
        };
        let line = facts
            .description
            .lines()
            .next()
            .filter(|line| !line.trim().is_empty());
        for argument in facts.arguments.iter().chain(&facts.sockets) {
            text("the argument", argument)?;
        }
        Ok(Self {
            daemon,
            facts,
            description: text("description", line.unwrap_or(&name).trim())?,
            executable: text("the path of the binary", &executable.to_string_lossy())?,
            pidfile: path("pidfile", &pidfile)?,
            stdout: path("stdout", &daemon.stdout)?,
            stderr: path("stderr", &daemon.stderr)?,
            chroot: path("chroot", &daemon.chroot)?,
            directory: text("working_directory", &directory.to_string_lossy())?,
            name,
        })
    }

    /// The command line up to the command.
    fn call(&self) -> Vec<&str> {
        let arguments = self.facts.arguments.iter().map(String::as_str);
        std::iter::once(self.executable.as_str())
            .chain(arguments)
            .collect()
    }

    /// The command line that has the service do something.
    fn command(&self, action: &'a str) -> Vec<&str> {
        let mut line = self.call();
        line.push(action);
        line
    }

    /// The directory to start it in: inside a chroot it goes to its own by itself.
    fn directory_outside_chroot(&self) -> &str {
        if self.chroot.is_some() {
            "/"
        } else {
            &self.directory
        }
    }

    /// The directory of the pidfile, if it is one below `/run`, where nothing outlives a boot.
    fn runtime_directory(&self) -> Option<&str> {
        let directory = Path::new(self.pidfile.as_deref()?).parent()?;
        directory.to_str().filter(|path| path.starts_with("/run/"))
    }

    /// `None` where it is daemon(7)'s 0. That undoes what a terminal has left behind, and a manager
    /// leaves nothing.
    fn umask(&self) -> Option<String> {
        Some(self.daemon.umask)
            .filter(|mask| *mask != 0)
            .map(|mask| format!("{mask:04o}"))
    }
}

fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Some formats end a value at the line's end, and trim it; none has an escape for all of these.
fn text(what: &str, value: &str) -> Result<String, Error> {
    let unfit = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    if value.contains(unfit) || value.trim() != value || value.ends_with('\\') {
        let problem = "a service file cannot hold control characters, what is no UTF-8, or a space or '\\' at the end";
        return Err(refuse(format!("{what} {value:?}"), problem));
    }
    Ok(value.to_owned())
}

fn refuse(object: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::usage(object, problem)
}

/// Lines, each with its end.
fn lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    lines
        .into_iter()
        .fold(String::new(), |text, line| text + line.as_ref() + "\n")
}
