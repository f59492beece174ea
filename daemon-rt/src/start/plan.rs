//! `Plan`: the settings resolved, before any fork, so that mistakes are reported at once.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::daemon::path::{absolute, check_name};
use crate::daemon::places::{self, places};
use crate::daemon::{Daemon, Mode as DaemonMode, Place};
use crate::error::{During, Error};
use crate::step::Step;
use crate::steps::environment::{EnvironmentPlan, is_pattern};
use crate::steps::pidfile::{Others, Policy};
use crate::steps::privileges::Privileges;
use crate::steps::signals::StillIgnored;
use crate::steps::streams::{Logs, NULL, path_of};

/// What the start does.
pub(crate) struct Plan {
    pub(crate) still_ignored: StillIgnored,
    pub(crate) environment: EnvironmentPlan,
    pub(crate) logs: Logs,
    pub(crate) umask: Mode,
    /// Ready for chdir(2).
    pub(crate) working_directory: CString,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) privileges: Privileges,
    pub(crate) start_timeout: Option<Duration>,
    /// Other starts that are under way.
    pub(crate) others: Others,
    /// Whether there is to be a control socket beside the pidfile.
    control_socket: bool,
}

/// The settings, checked, without the user and groups that they name.
pub(crate) struct Draft(Plan);

impl Draft {
    /// Checks the settings, which a `configure` hook may have taken from anywhere. Nothing is
    /// opened or looked up yet.
    pub(crate) fn new(
        daemon: &Daemon,
        environment: crate::sys::InheritedEnvironment,
        still_ignored: StillIgnored,
        policy: Policy,
    ) -> Result<Self, Error> {
        if let Some(name) = &daemon.name {
            check_name(name)?;
        }
        places::note();
        let umask = u32::from(u16::MAX).min(daemon.umask);
        if daemon.umask > 0o777 {
            return Err(Error::usage(
                format!("umask {:#o}", daemon.umask),
                "must be at most 0o777",
            ));
        }
        if let Some(name) = daemon.keep_env.iter().find(|name| !is_pattern(name)) {
            let problem = "must not be empty or contain '=' or NUL, and '*' must be its end";
            return Err(Error::usage(format!("keep_env {name:?}"), problem));
        }
        let working_directory = match path("working_directory", daemon.working_directory.as_ref())?
        {
            Some(path) => c_string(path),
            None => c"/".into(),
        };
        Ok(Self(Plan {
            still_ignored,
            environment: EnvironmentPlan {
                inherited: environment,
                keep: [&daemon.keep_env[..], &daemon.keep_fds_from].concat(),
                account: Vec::new(),
            },
            logs: Logs {
                stdout: log(daemon, "stdout", daemon.stdout.as_ref())?,
                stderr: log(daemon, "stderr", daemon.stderr.as_ref())?,
            },
            umask: Mode::from_bits_truncate(umask as nix::libc::mode_t),
            working_directory,
            pidfile: places::pidfile(daemon)?,
            privileges: Privileges::of(daemon, path("chroot", daemon.chroot.as_ref())?)?,
            start_timeout: daemon.start_timeout,
            others: Others::new(policy, daemon.start_timeout),
            control_socket: daemon.control_socket,
        }))
    }

    /// Makes the directories of what is at its usual place. In the foreground there are no logs.
    pub(crate) fn make_directories(daemon: &Daemon, mode: DaemonMode) -> Result<(), Error> {
        let is_usual = |place: &Option<Place>| matches!(place, Some(Place::Usual));
        let places = places(daemon.get_name());
        if is_usual(&daemon.pidfile) {
            places.make_place_of_pidfile()?;
        }
        let has_log = is_usual(&daemon.stdout) || is_usual(&daemon.stderr);
        if has_log && mode == DaemonMode::Detach {
            places.make_place_of_log()?;
        }
        Ok(())
    }

    /// Looks up the names of users and groups.
    pub(crate) fn look_up(self, daemon: &Daemon) -> Result<Plan, Error> {
        let Self(mut plan) = self;
        plan.environment.account = plan.privileges.look_up(daemon)?;
        Ok(plan)
    }
}

impl Plan {
    /// The pidfile beside which there is a control socket.
    pub(crate) fn control_path(&self) -> Option<&Path> {
        if self.control_socket {
            self.pidfile.as_deref()
        } else {
            None
        }
    }

    /// Checks that the directories that the settings name are there. That of the pidfile may be one
    /// that a manager creates for each start, and what is at its usual place has its directory made
    /// there. What the caller may not see is left to the start.
    pub(crate) fn check_places(&self, daemon: &Daemon) -> Result<(), Error> {
        if let Some(root) = self.privileges.root() {
            check_directory(root).during(
                Step::DropPrivileges,
                format_args!("chroot {}", root.display()),
            )?;
        } else {
            let directory = path_of(&self.working_directory);
            check_directory(directory).during(Step::ChangeDirectory, directory.display())?;
        }
        for (place, log) in [
            (&daemon.stdout, &self.logs.stdout),
            (&daemon.stderr, &self.logs.stderr),
        ] {
            if let (Some(Place::At(_)), Some(log)) = (place, log) {
                let directory = log.parent().unwrap_or(log);
                check_directory(directory).during(Step::ConnectStreams, log.display())?;
            }
        }
        Ok(())
    }

    /// Where step 11 goes: with a chroot the working directory is inside it and has to wait for
    /// step 13.
    pub(crate) fn directory_outside_chroot(&self) -> &CStr {
        if self.privileges.changes_root() {
            c"/"
        } else {
            &self.working_directory
        }
    }
}

fn check_directory(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

fn path(setting: &str, path: Option<&PathBuf>) -> Result<Option<PathBuf>, Error> {
    match path {
        Some(path) => Ok(Some(absolute(setting, path)?)),
        None => Ok(None),
    }
}

/// `/dev/null` may be named, too, and is not a file to append to.
fn log(daemon: &Daemon, setting: &str, log: Option<&Place>) -> Result<Option<PathBuf>, Error> {
    let log = places::log(daemon, setting, log)?;
    if log.as_deref() == Some(Path::new(NULL)) {
        return Ok(None);
    }
    Ok(log)
}

fn c_string(path: PathBuf) -> CString {
    CString::new(path.into_os_string().into_vec()).expect("a path with a NUL has been refused")
}
