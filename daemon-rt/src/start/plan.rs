//! `Plan`: the settings resolved, before any fork, so that mistakes are reported at once.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::daemon::path::{absolute, check_name};
use crate::daemon::places::{self, places};
use crate::daemon::{Daemon, Log, Mode as DaemonMode, Place, Property};
use crate::error::{During, Error};
use crate::step::Step;
use crate::steps::environment::{EnvironmentPlan, is_pattern};
use crate::steps::pidfile::{Claim, Others, Policy};
use crate::steps::privileges::Privileges;
use crate::steps::resources::Resources;
use crate::steps::signals::StillIgnored;
use crate::steps::streams::{Logs, NULL, Rotation, Target, path_of};
use crate::sys::safe_open::SafePath;

/// What the start does.
pub(crate) struct Plan {
    pub(crate) still_ignored: StillIgnored,
    pub(crate) environment: EnvironmentPlan,
    pub(crate) logs: Logs,
    /// `None` keeps the caller's.
    pub(crate) umask: Option<Mode>,
    /// Ready for chdir(2). `None` keeps the caller's.
    pub(crate) working_directory: Option<CString>,
    pub(crate) pidfile: Option<PathBuf>,
    /// The directory of the service's own, if it is to have one.
    runtime_directory: Option<PathBuf>,
    /// The same for its state.
    state_directory: Option<PathBuf>,
    pub(crate) resources: Resources,
    pub(crate) privileges: Privileges,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    /// Other starts that are under way.
    pub(crate) others: Others,
    /// The starter says on standard output what it has done.
    pub(crate) says_outcome: bool,
    /// The version of the program, empty if it was not told.
    pub(crate) version: String,
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
        if let Some(name) = daemon.keep_env.iter().find(|name| !is_pattern(name)) {
            let problem = "must not be empty or contain '=' or NUL, and '*' must be its end";
            return Err(Error::usage(format!("keep_env {name:?}"), problem));
        }
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
                name: daemon.get_name(),
                rotation: rotation(daemon)?,
            },
            umask: umask(daemon)?,
            working_directory: working_directory(daemon)?,
            pidfile: places::pidfile(daemon)?,
            runtime_directory: runtime_directory(daemon)?,
            state_directory: state_directory(daemon)?,
            resources: Resources::of(daemon)?,
            privileges: Privileges::of(daemon, path("chroot", daemon.chroot.as_ref())?)?,
            start_timeout: daemon.start_timeout,
            stop_timeout: daemon.stop_timeout,
            drain_timeout: daemon.time_to_drain()?,
            others: Others::new(policy, daemon.start_timeout),
            #[cfg(all(feature = "cli", target_os = "linux"))]
            says_outcome: daemon.says_outcome(),
            #[cfg(all(feature = "cli", target_os = "linux"))]
            version: daemon.version.clone().unwrap_or_default(),
            #[cfg(not(all(feature = "cli", target_os = "linux")))]
            says_outcome: false,
            #[cfg(not(all(feature = "cli", target_os = "linux")))]
            version: String::new(),
            control_socket: daemon.control_socket,
        }))
    }

    /// Makes the directories of what is at its usual place. In the foreground there are no logs.
    pub(crate) fn make_directories(daemon: &Daemon, mode: DaemonMode) -> Result<(), Error> {
        let is_usual = |log: &Option<Log>| matches!(log, Some(log) if log.is_usual());
        let places = places(daemon.get_name());
        if let Some(Place::Usual) = daemon.pidfile {
            places.make_place_of_pidfile()?;
        }
        if daemon.runtime_directory {
            places.make_runtime_directory()?;
        }
        if daemon.state_directory {
            places.make_state_directory()?;
        }
        let has_log = is_usual(&daemon.stdout) || is_usual(&daemon.stderr);
        if has_log && mode == DaemonMode::Detach {
            places.make_place_of_log()?;
        }
        Ok(())
    }

    /// Takes the lock of an existing pidfile.
    pub(crate) fn probe(&self) -> Result<Claim, Error> {
        self.0.probe()
    }

    /// Looks up the names of users and groups.
    pub(crate) fn look_up(self, daemon: &Daemon) -> Result<Plan, Error> {
        let Self(mut plan) = self;
        plan.environment.account = plan.privileges.look_up(daemon)?;
        plan.check_pidfile()?;
        Ok(plan)
    }
}

impl Plan {
    /// Takes the lock of an existing pidfile.
    pub(crate) fn probe(&self) -> Result<Claim, Error> {
        Claim::probe(self.pidfile.as_deref(), &self.others)
    }

    /// The pidfile beside which there is a control socket.
    pub(crate) fn control_path(&self) -> Option<&Path> {
        if self.control_socket {
            self.pidfile.as_deref()
        } else {
            None
        }
    }

    /// The directories of the service's own.
    pub(crate) fn own_directories(&self) -> impl Iterator<Item = &Path> {
        let directories = [&self.runtime_directory, &self.state_directory];
        directories.into_iter().flatten().map(PathBuf::as_path)
    }

    /// Root trusts no pidfile that the service's user can exchange.
    fn check_pidfile(&self) -> Result<(), Error> {
        let (Some(pidfile), Some(directory)) = (&self.pidfile, &self.runtime_directory) else {
            return Ok(());
        };
        match self.privileges.owner() {
            Some(user) if !user.is_root() && pidfile.parent() == Some(directory.as_path()) => {
                let problem =
                    "must not be in the runtime directory, which the service's user can write";
                Err(Error::usage(
                    format!("pidfile \"{}\"", pidfile.display()),
                    problem,
                ))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the directories that the settings name are there, and what is at the paths of the
    /// logs. The directory of the pidfile may be one that a manager creates for each start, and what is
    /// at its usual place has its directory made there. What the caller may not see is left to the
    /// start. The processors are tried, too.
    pub(crate) fn check_places(
        &self,
        daemon: &Daemon,
        missing: MissingPlaces,
    ) -> Result<(), Error> {
        self.resources.check()?;
        let seen = |checked| seen(checked, missing);
        if let Some(root) = self.privileges.root() {
            seen(check_directory(root)).during(
                Step::DropPrivileges,
                format_args!("chroot {}", root.display()),
            )?;
        } else if let Some(directory) = &self.working_directory {
            let directory = path_of(directory);
            seen(check_directory(directory)).during(Step::ChangeDirectory, directory.display())?;
        }
        for (setting, log) in [
            (&daemon.stdout, &self.logs.stdout),
            (&daemon.stderr, &self.logs.stderr),
        ] {
            if let (Some(Log::Path(_)), Target::Path(log)) = (setting, log) {
                seen(SafePath::check(log)).during(Step::ConnectStreams, log.display())?;
            }
        }
        Ok(())
    }

    /// Where step 11 goes: with a chroot the working directory is inside it and has to wait for
    /// step 13.
    pub(crate) fn directory_outside_chroot(&self) -> Option<&CStr> {
        if self.privileges.changes_root() {
            Some(c"/")
        } else {
            self.working_directory.as_deref()
        }
    }
}

fn check_directory(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        found => found.map(drop),
    }
}

/// The directories that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingPlaces {
    AreWrong,
    /// The service file makes them.
    AreMade,
}

/// What cannot be seen is not wrong.
fn seen(checked: io::Result<()>, missing: MissingPlaces) -> io::Result<()> {
    match checked {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && missing == MissingPlaces::AreMade =>
        {
            Ok(())
        }
        checked => checked,
    }
}

fn umask(daemon: &Daemon) -> Result<Option<Mode>, Error> {
    let mask = match daemon.umask {
        Property::Usual => 0,
        Property::Keep => return Ok(None),
        Property::Set(mask) => mask,
    };
    if mask > 0o777 {
        let problem = "must be at most 0o777";
        return Err(Error::usage(format!("umask {mask:#o}"), problem));
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is small")]
    Ok(Some(Mode::from_bits_truncate(mask as nix::libc::mode_t)))
}

fn rotation(daemon: &Daemon) -> Result<Option<Rotation>, Error> {
    match (daemon.log_size, daemon.log_keep) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::usage(
            "log_keep",
            "it is for `log_size`: set that too",
        )),
        (Some(0), _) => Err(Error::usage("log_size", "must not be 0")),
        (_, Some(0)) => Err(Error::usage("log_keep", "must not be 0")),
        (Some(size), _) => Ok(Some(Rotation {
            size,
            keep: daemon.logs_kept(),
        })),
    }
}

fn runtime_directory(daemon: &Daemon) -> Result<Option<PathBuf>, Error> {
    if daemon.runtime_directory {
        Ok(Some(places(daemon.get_name()).runtime_directory()?))
    } else {
        Ok(None)
    }
}

fn state_directory(daemon: &Daemon) -> Result<Option<PathBuf>, Error> {
    if daemon.state_directory {
        Ok(Some(places(daemon.get_name()).state_directory()?))
    } else {
        Ok(None)
    }
}

fn working_directory(daemon: &Daemon) -> Result<Option<CString>, Error> {
    match &daemon.working_directory {
        Property::Usual => Ok(Some(c"/".into())),
        Property::Keep if daemon.chroot.is_some() => {
            let problem = "cannot be kept: it is outside of the chroot";
            Err(Error::usage("working_directory", problem))
        }
        Property::Keep => Ok(None),
        Property::Set(path) => Ok(Some(c_string(absolute("working_directory", path)?))),
    }
}

fn path(setting: &str, path: Option<&PathBuf>) -> Result<Option<PathBuf>, Error> {
    match path {
        Some(path) => Ok(Some(absolute(setting, path)?)),
        None => Ok(None),
    }
}

fn log(daemon: &Daemon, setting: &str, log: Option<&Log>) -> Result<Target, Error> {
    Ok(match (log, places::log(daemon, setting, log)?) {
        // It may be named, too, and is not a file to append to.
        (_, Some(path)) if path == Path::new(NULL) => Target::Null,
        (_, Some(path)) => Target::Path(path),
        (Some(Log::Journal), None) => Target::Journal,
        (Some(Log::Syslog), None) => Target::Syslog,
        (Some(Log::Keep), None) => Target::Keep,
        (Some(Log::File(file)), None) => Target::File(Arc::clone(file)),
        (Some(Log::Usual | Log::Path(_)) | None, None) => Target::Null,
    })
}

fn c_string(path: PathBuf) -> CString {
    CString::new(path.into_os_string().into_vec()).expect("a path with a NUL has been refused")
}
