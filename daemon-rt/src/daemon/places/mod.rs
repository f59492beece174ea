//! `Places`: where a service keeps its files, unless it says otherwise.

use std::path::PathBuf;

#[cfg_attr(not(unix), path = "directories_none.rs")]
mod directories;

#[cfg(unix)]
pub(crate) use self::directories::note;
use super::path::{absolute, check_name};
use super::{Daemon, Log, Place};
use crate::error::{During, Error};
use crate::step::Step;

/// The usual places of a service's files, see [`places`].
#[derive(Clone, Debug)]
pub struct Places {
    name: String,
}

/// The usual places of the files of the service of this name, for the user who asks. A bare
/// `pidfile`, `stdout` or `stderr` of the attribute is there.
///
/// Anyone may ask: the service, and a program that controls it or connects to it. The directory is
/// the first of these:
///
/// | | pidfile | log | state |
/// | --- | --- | --- | --- |
/// | systemd's, the first in the list | `RUNTIME_DIRECTORY` | `LOGS_DIRECTORY` | `STATE_DIRECTORY` |
/// | root | `/run` | `/var/log`; `/run` if other users can write that | `/var/lib/NAME` |
/// | others | `XDG_RUNTIME_DIR`, if it is this user's | `XDG_STATE_HOME/NAME` | `XDG_STATE_HOME/NAME` |
/// | | `/run/user/UID`, if it is this user's | `~/.local/state/NAME` | `~/.local/state/NAME` |
/// | | `NAME-UID` in the directory for temporary files | beside the pidfile | none: an error |
///
/// The last row is for containers, and for su(1), which keeps the variables of another user: `HOME`
/// counts only if it is the user's directory. A program that was started with more privileges than
/// its caller has (set-user-ID, file capabilities) believes none of these variables.
///
/// A start makes the directories of a bare `pidfile`, `stdout` or `stderr` of an ordinary user, for
/// this user alone. The state directory is for the service to make, unless it is set to have
/// one.
///
/// The service gets the same answers all its life: they are those of its start, before step 4 and
/// the change of the user. Another program gets the same only as the same user with the same
/// variables. Where a manager sets `RUNTIME_DIRECTORY` and people control the service from a shell,
/// give `pidfile` a path.
///
/// ```
/// use daemon_rt::places;
///
/// # if cfg!(unix) {
/// // The socket of an agent, for the agent and for its clients.
/// let socket = places("agent").pidfile()?.with_extension("sock");
/// # assert_eq!(socket.file_name().unwrap(), "agent.sock");
/// # }
/// # Ok::<_, daemon_rt::Error>(())
/// ```
pub fn places(name: impl Into<String>) -> Places {
    Places { name: name.into() }
}

impl Places {
    /// The file `NAME.pid`.
    ///
    /// ```
    /// let pidfile = daemon_rt::places("greeter").pidfile()?;
    /// assert_eq!(pidfile.file_name(), Some("greeter.pid".as_ref()));
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name cannot be part of a path, or another user has made the directory.
    pub fn pidfile(&self) -> Result<PathBuf, Error> {
        let file = self.file("pid")?;
        let directory = directories::runtime(&self.name).during(Step::WritePidfile, &file)?;
        Ok(directory.join(file))
    }

    /// The file `NAME.log`.
    ///
    /// ```
    /// let log = daemon_rt::places("greeter").log()?;
    /// assert_eq!(log.file_name(), Some("greeter.log".as_ref()));
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name cannot be part of a path, or another user has made the directory.
    pub fn log(&self) -> Result<PathBuf, Error> {
        let file = self.file("log")?;
        let directory = directories::logs(&self.name).during(Step::ConnectStreams, &file)?;
        Ok(directory.join(file))
    }

    /// The directory of the service's own, in that of the pidfile; systemd's, if it has made one. It is
    /// there where the service is set to have it, see
    /// [`Daemon::runtime_directory`](crate::Daemon::runtime_directory).
    ///
    /// # Errors
    /// If the name cannot be part of a path, or another user has made the directory.
    pub fn runtime_directory(&self) -> Result<PathBuf, Error> {
        check_name(&self.name)?;
        directories::own(&self.name).during(Step::MakeDirectory, &self.name)
    }

    /// The directory for what the service keeps from one run to the next. It need not exist yet, unless
    /// the service is set to have it, see [`Daemon::state_directory`](crate::Daemon::state_directory).
    ///
    /// ```no_run
    /// let state = daemon_rt::places("greeter").state_directory()?;
    /// std::fs::create_dir_all(&state)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the name cannot be part of a path, or the user has no home directory.
    pub fn state_directory(&self) -> Result<PathBuf, Error> {
        check_name(&self.name)?;
        directories::state(&self.name)
            .map_err(|error| Error::usage("state directory", error.to_string()))
    }

    /// Makes the directory of the pidfile.
    #[cfg(unix)]
    pub(crate) fn make_place_of_pidfile(&self) -> Result<(), Error> {
        let pidfile = self.pidfile()?;
        directories::make_parent(&pidfile).during(Step::WritePidfile, pidfile.display())?;
        // Another user may have made it just now.
        self.pidfile()?;
        Ok(())
    }

    /// Makes the directory of the service's own, in which the pidfile may be. It is given to the
    /// service's user when no other instance can have it.
    #[cfg(unix)]
    pub(crate) fn make_runtime_directory(&self) -> Result<(), Error> {
        let directory = self.runtime_directory()?;
        directories::make_own(&directory).during(Step::MakeDirectory, directory.display())
    }

    /// Makes the directory for its state, in the same way.
    #[cfg(unix)]
    pub(crate) fn make_state_directory(&self) -> Result<(), Error> {
        let directory = self.state_directory()?;
        directories::make_own(&directory).during(Step::MakeDirectory, directory.display())
    }

    /// Makes the directory of the log.
    #[cfg(unix)]
    pub(crate) fn make_place_of_log(&self) -> Result<(), Error> {
        let log = self.log()?;
        directories::make_parent(&log).during(Step::ConnectStreams, log.display())?;
        self.log()?;
        Ok(())
    }

    fn file(&self, extension: &str) -> Result<String, Error> {
        check_name(&self.name)?;
        Ok(format!("{}.{extension}", self.name))
    }
}

/// The path of the pidfile, if there is to be one.
pub(crate) fn pidfile(daemon: &Daemon) -> Result<Option<PathBuf>, Error> {
    match &daemon.pidfile {
        None => Ok(None),
        Some(Place::At(path)) => Ok(Some(absolute("pidfile", path)?)),
        Some(Place::Usual) => Ok(Some(places(daemon.get_name()).pidfile()?)),
    }
}

/// The path of the file to which a standard stream goes, if it goes to one.
pub(crate) fn log(
    daemon: &Daemon,
    setting: &str,
    log: Option<&Log>,
) -> Result<Option<PathBuf>, Error> {
    match log {
        Some(Log::Path(path)) => Ok(Some(absolute(setting, path)?)),
        Some(log) if log.is_usual() => Ok(Some(places(daemon.get_name()).log()?)),
        _ => Ok(None),
    }
}
