//! `Plan`: the settings resolved, before any fork, so that mistakes are reported at once.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::daemon::Daemon;
use crate::daemon::path::{absolute, check_name, pidfile};
use crate::error::Error;
use crate::steps::environment::{EnvironmentPlan, is_pattern};
use crate::steps::privileges::Privileges;
use crate::steps::signals::StillIgnored;
use crate::steps::streams::{Logs, NULL};

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
    /// Whether there is to be a control socket beside the pidfile.
    control_socket: bool,
}

impl Plan {
    /// Checks the settings, which a `configure` hook may have taken from anywhere. Nothing is
    /// opened or looked up yet.
    pub(crate) fn new(
        daemon: &Daemon,
        environment: crate::sys::InheritedEnvironment,
        still_ignored: StillIgnored,
    ) -> Result<Self, Error> {
        daemon.name.as_deref().map_or(Ok(()), check_name)?;
        let umask = u32::from(u16::MAX).min(daemon.umask);
        if daemon.umask > 0o777 {
            return Err(Error::usage(
                format!("umask {:#o}", daemon.umask),
                "a umask is at most 0o777",
            ));
        }
        if let Some(name) = daemon.keep_env.iter().find(|name| !is_pattern(name)) {
            let problem = "it holds no '=' or NUL, is not empty, and has a '*' at its end only";
            return Err(Error::usage(format!("keep_env {name:?}"), problem));
        }
        let path = |setting, path: &Option<PathBuf>| {
            path.as_deref()
                .map(|path| absolute(setting, path))
                .transpose()
        };
        Ok(Self {
            still_ignored,
            environment: EnvironmentPlan {
                inherited: environment,
                keep: daemon.keep_env.clone(),
                account: Vec::new(),
            },
            logs: Logs {
                stdout: path("stdout", &daemon.stdout)?.filter(is_log),
                stderr: path("stderr", &daemon.stderr)?.filter(is_log),
            },
            umask: Mode::from_bits_truncate(umask as nix::libc::mode_t),
            working_directory: path("working_directory", &daemon.working_directory)?
                .map_or(c"/".into(), c_string),
            pidfile: pidfile(daemon)?,
            privileges: Privileges::of(daemon, path("chroot", &daemon.chroot)?)?,
            start_timeout: daemon.start_timeout,
            control_socket: daemon.control_socket,
        })
    }

    /// Looks up the names of users and groups.
    pub(crate) fn look_up(&mut self, daemon: &Daemon) -> Result<(), Error> {
        self.environment.account = self.privileges.look_up(daemon)?;
        Ok(())
    }

    /// The pidfile beside which there is a control socket.
    pub(crate) fn control_path(&self) -> Option<&Path> {
        if self.control_socket {
            self.pidfile.as_deref()
        } else {
            None
        }
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

/// `/dev/null` may be named, too, and is no file to append to.
fn is_log(path: &PathBuf) -> bool {
    path != Path::new(NULL)
}

fn c_string(path: PathBuf) -> CString {
    CString::new(path.into_os_string().into_vec()).expect("a path with a NUL has been refused")
}
