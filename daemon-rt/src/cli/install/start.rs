//! The start by the manager, seen from outside: by the pidfile.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::logs::Source;
use crate::control::{Control, Status, keeper};
use crate::daemon::action::Manager;
use crate::daemon::{Daemon, places};
use crate::error::Error;
use crate::sys;

/// Returns the service that runs although it is uninstalled: it was started by hand.
pub(super) fn left(daemon: &Daemon) -> Option<u32> {
    running(&places::pidfile(daemon).ok()??)
}

/// The error of a start by the manager, with what the service's log says last.
pub(super) fn failed(daemon: &Daemon, error: &io::Error) -> Error {
    let mut text = error.to_string();
    if let Ok(source) = Source::find(daemon, None, None) {
        let lines = source.last_lines().unwrap_or_default();
        if let Some(last) = lines.last() {
            text = format!("{text}\nthe last line of its log ({source}): {last}");
        }
    }
    Error::control("", io::Error::other(text)).in_command("start")
}

fn running(pidfile: &Path) -> Option<u32> {
    match Control::new(pidfile).status() {
        Ok(Status::Running { pid, .. }) => Some(pid),
        _ => None,
    }
}

/// The service before the start.
pub(super) struct Before {
    pidfile: Option<PathBuf>,
    running: Option<u32>,
}

impl Before {
    /// Looks at the service.
    ///
    /// # Errors
    /// If it was started by hand. The manager's start would fail then, and not each manager says so.
    pub(super) fn look(daemon: &Daemon, manager: Manager) -> io::Result<Self> {
        let Ok(Some(pidfile)) = places::pidfile(daemon) else {
            return Ok(Self {
                pidfile: None,
                running: None,
            });
        };
        let running = running(&pidfile);
        if let (Some(pid), false) = (running, manager == Manager::Sysv) {
            if let Ok(None) = keeper::find_keeper(sys::pid_of(pid), &pidfile) {
                return Err(io::Error::other(format!(
                    "it runs already, and no manager runs it: stop it first (pid {pid})"
                )));
            }
        }
        Ok(Self {
            pidfile: Some(pidfile),
            running,
        })
    }

    /// Waits until the service runs: not every manager does. Returns what was done.
    pub(super) fn wait(self) -> io::Result<String> {
        let Some(pidfile) = self.pidfile else {
            return Ok("; started".to_owned());
        };
        let pid = keeper::wait_for_process(&pidfile, None)?;
        Ok(if self.running == Some(pid) {
            format!("; runs already: pid {pid}")
        } else {
            format!("; started: pid {pid}")
        })
    }
}
