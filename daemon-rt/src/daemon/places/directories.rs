//! The directories of [`places`](super::places).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::{Uid, geteuid};

use crate::sys;

/// Ubuntu lets the group syslog write it, and root opens no file where others have a say.
const VAR_LOG: &str = "/var/log";
/// The mode of a service's own directory.
const OWN_MODE: u32 = 0o755;

/// What the places depend on.
struct Asker {
    user: Uid,
    variables: Variables,
}

#[derive(Default)]
struct Variables {
    runtime_directory: Option<PathBuf>,
    logs_directory: Option<PathBuf>,
    state_directory: Option<PathBuf>,
    xdg_runtime_dir: Option<PathBuf>,
    xdg_state_home: Option<PathBuf>,
    home: Option<PathBuf>,
    temporary: Option<PathBuf>,
}

/// The user who has started the service of this process, and the environment before step 4.
static STARTED_BY: OnceLock<Asker> = OnceLock::new();

/// Notes who starts the service.
pub(crate) fn note() {
    STARTED_BY.get_or_init(Asker::now);
}

/// Makes the directory of a file for this user alone. Root's are there.
pub(super) fn make_parent(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) if !geteuid().is_root() && !directory.exists() => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory),
        _ => Ok(()),
    }
}

/// Makes a service's own directory, which everyone may enter.
pub(super) fn make_own(directory: &Path) -> io::Result<()> {
    make_parent(directory)?;
    match DirBuilder::new().create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(OWN_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn runtime(name: &str) -> io::Result<PathBuf> {
    ask(|asker| asker.runtime(name))
}

pub(super) fn own(name: &str) -> io::Result<PathBuf> {
    ask(|asker| asker.own(name))
}

pub(super) fn logs(name: &str) -> io::Result<PathBuf> {
    ask(|asker| asker.logs(name))
}

pub(super) fn state(name: &str) -> io::Result<PathBuf> {
    ask(|asker| asker.state(name))
        .ok_or_else(|| io::Error::other("HOME is not this user's directory: set XDG_STATE_HOME"))
}

fn ask<T>(question: impl FnOnce(&Asker) -> T) -> T {
    match STARTED_BY.get() {
        Some(asker) => question(asker),
        None => question(&Asker::now()),
    }
}

impl Asker {
    fn now() -> Self {
        Self {
            user: geteuid(),
            // They are the caller's, who may have fewer privileges.
            variables: if sys::is_set_uid() {
                Variables::default()
            } else {
                Variables::read()
            },
        }
    }

    fn runtime(&self, name: &str) -> io::Result<PathBuf> {
        if let Some(directory) = &self.variables.runtime_directory {
            return Ok(directory.clone());
        }
        if self.user.is_root() {
            return Ok(PathBuf::from("/run"));
        }
        let of_the_system = PathBuf::from(format!("/run/user/{}", self.user));
        for directory in self
            .variables
            .xdg_runtime_dir
            .iter()
            .chain([&of_the_system])
        {
            if self.has_alone(directory) {
                return Ok(directory.clone());
            }
        }
        let temporary = match &self.variables.temporary {
            Some(directory) => directory,
            None => Path::new("/tmp"),
        };
        let own = temporary.join(format!("{name}-{}", self.user));
        // Anyone may have made it before, to have a hand in what is written there.
        if fs::symlink_metadata(&own).is_ok() && !self.has_alone(&own) {
            let problem = format!("the directory {} is not this user's alone", own.display());
            return Err(io::Error::other(problem));
        }
        Ok(own)
    }

    /// That of systemd is the service's own already.
    fn own(&self, name: &str) -> io::Result<PathBuf> {
        match &self.variables.runtime_directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(self.runtime(name)?.join(name)),
        }
    }

    fn logs(&self, name: &str) -> io::Result<PathBuf> {
        if let Some(directory) = &self.variables.logs_directory {
            return Ok(directory.clone());
        }
        if !self.user.is_root() {
            if let Some(directory) = self.state_of_user(name) {
                return Ok(directory);
            }
        } else if self.has_alone(Path::new(VAR_LOG)) {
            return Ok(PathBuf::from(VAR_LOG));
        }
        self.runtime(name)
    }

    fn state(&self, name: &str) -> Option<PathBuf> {
        if let Some(directory) = &self.variables.state_directory {
            Some(directory.clone())
        } else if self.user.is_root() {
            Some(Path::new("/var/lib").join(name))
        } else {
            self.state_of_user(name)
        }
    }

    fn state_of_user(&self, name: &str) -> Option<PathBuf> {
        if let Some(directory) = &self.variables.xdg_state_home {
            return Some(directory.join(name));
        }
        let home = self.variables.home.as_ref()?;
        match fs::metadata(home) {
            Ok(found) if found.uid() == self.user.as_raw() => {
                Some(home.join(".local/state").join(name))
            }
            _ => None,
        }
    }

    /// Checks whether this is a directory of this user's (no symbolic link to one), and no other
    /// user can write it.
    fn has_alone(&self, directory: &Path) -> bool {
        match fs::symlink_metadata(directory) {
            Ok(found) => {
                found.is_dir() && found.uid() == self.user.as_raw() && found.mode() & 0o022 == 0
            }
            Err(_) => false,
        }
    }
}

impl Variables {
    fn read() -> Self {
        Self {
            runtime_directory: first_of(env::var_os("RUNTIME_DIRECTORY")),
            logs_directory: first_of(env::var_os("LOGS_DIRECTORY")),
            state_directory: first_of(env::var_os("STATE_DIRECTORY")),
            xdg_runtime_dir: absolute(env::var_os("XDG_RUNTIME_DIR")),
            xdg_state_home: absolute(env::var_os("XDG_STATE_HOME")),
            home: absolute(env::var_os("HOME")),
            temporary: absolute(env::var_os("TMPDIR")),
        }
    }
}

/// The first path of a list with colons between, as systemd gives it.
fn first_of(list: Option<OsString>) -> Option<PathBuf> {
    let list = list?;
    let first = list.as_bytes().split(|byte| *byte == b':').next()?;
    absolute(Some(OsStr::from_bytes(first).to_owned()))
}

/// The path, if it is absolute.
fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    let path = PathBuf::from(value?);
    if path.is_absolute() { Some(path) } else { None }
}
