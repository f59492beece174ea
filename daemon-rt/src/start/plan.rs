//! `Plan`: the settings resolved, before any fork, so that mistakes are reported at once.

use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::daemon::{BindControlSocket, Daemon, Pidfile};
use crate::error::{During, Error};
use crate::step::Step;
use crate::steps::environment::{EnvironmentPlan, is_pattern};
use crate::steps::privileges::Privileges;
use crate::steps::signals::StillIgnored;
use crate::steps::streams::NULL;

/// What the start does.
pub(crate) struct Plan {
    pub(crate) still_ignored: StillIgnored,
    pub(crate) environment: EnvironmentPlan,
    pub(crate) stdout: Option<PathBuf>,
    pub(crate) stderr: Option<PathBuf>,
    pub(crate) umask: Mode,
    /// Ready for chdir(2).
    pub(crate) working_directory: CString,
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) pidfile: Option<PathBuf>,
    pub(crate) privileges: Privileges,
    pub(crate) start_timeout: Option<Duration>,
    /// What binds the control socket beside the pidfile, if there is to be one.
    pub(crate) control: Option<BindControlSocket>,
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
            stdout: path("stdout", &daemon.stdout)?.filter(is_log),
            stderr: path("stderr", &daemon.stderr)?.filter(is_log),
            umask: Mode::from_bits_truncate(umask as nix::libc::mode_t),
            working_directory: path("working_directory", &daemon.working_directory)?
                .map_or(c"/".into(), c_string),
            chroot: path("chroot", &daemon.chroot)?,
            pidfile: pidfile(daemon)?,
            privileges: Privileges::of(daemon)?,
            start_timeout: daemon.start_timeout,
            control: daemon.control,
        })
    }

    /// Looks up the names of users and groups.
    pub(crate) fn look_up(&mut self, daemon: &Daemon) -> Result<(), Error> {
        self.environment.account = self.privileges.look_up(daemon)?;
        Ok(())
    }

    /// The pidfile beside which there is a control socket.
    pub(crate) fn control_path(&self) -> Option<&Path> {
        self.pidfile.as_deref().filter(|_| self.control.is_some())
    }

    pub(crate) fn bind_control_socket(&self) -> Result<(), Error> {
        let both = self.control.zip(self.pidfile.as_deref());
        both.map_or(Ok(()), |(bind, pidfile)| bind(pidfile))
    }

    /// Where step 11 goes: with a chroot the working directory is inside it and has to wait for
    /// step 13.
    pub(crate) fn directory_outside_chroot(&self) -> &CStr {
        match self.chroot {
            Some(_) => c"/",
            None => &self.working_directory,
        }
    }
}

/// `/dev/null` may be named, too, and is no file to append to.
fn is_log(path: &PathBuf) -> bool {
    path != Path::new(NULL)
}

/// A path as the person meant it who stood in the current directory.
fn absolute(setting: &str, path: &Path) -> Result<PathBuf, Error> {
    let object = || format!("{setting} {}", path.display());
    if path.as_os_str().is_empty() {
        return Err(Error::usage(
            format!("{setting} \"\""),
            "a path is not empty",
        ));
    }
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        return Err(Error::usage(object(), "a path holds no NUL"));
    }
    if path.is_absolute() && !bytes.windows(2).any(|two| two == b"//" || two == b"/.") {
        return Ok(path.to_owned());
    }
    std::path::absolute(path).map_err(|error| Error::usage(object(), error.to_string()))
}

fn c_string(path: PathBuf) -> CString {
    CString::new(path.into_os_string().into_vec()).expect("a path with a NUL has been refused")
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains(['/', '\0', '\n']) {
        return Err(Error::usage(
            format!("name {name:?}"),
            "a name is not empty and holds no '/', NUL or newline",
        ));
    }
    Ok(())
}

pub(crate) fn pidfile(daemon: &Daemon) -> Result<Option<PathBuf>, Error> {
    match &daemon.pidfile {
        None => Ok(None),
        Some(Pidfile::At(path)) => absolute("pidfile", path).map(Some),
        Some(Pidfile::Default) => {
            let name = daemon.get_name();
            check_name(&name)?;
            let directory = if geteuid().is_root() {
                PathBuf::from("/run")
            } else {
                let directory: Option<OsString> = std::env::var_os("XDG_RUNTIME_DIR");
                directory
                    .map(PathBuf::from)
                    .filter(|path| path.is_absolute())
                    .ok_or_else(|| {
                        std::io::Error::other(
                            "XDG_RUNTIME_DIR is no absolute path: set `pidfile` to one",
                        )
                    })
                    .during(Step::WritePidfile, format_args!("{name}.pid"))?
            };
            Ok(Some(directory.join(format!("{name}.pid"))))
        }
    }
}
