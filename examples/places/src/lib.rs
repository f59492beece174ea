//! Where the examples keep pidfile and log, so that they run on any machine and as any user without
//! preparation.
//!
//! A service that is installed knows its places, and names them in its attribute:
//! `#[daemon(pidfile = "/run/name.pid", stdout = "/var/log/name/name.log", user = "name", …)]`.
//!
//! Where the system is not Unix a service stays in the foreground, and needs no such place.
#![cfg(unix)]

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use nix::unistd::geteuid;

/// The two files of a service.
#[derive(Debug)]
pub struct Places {
    /// In `/run` for root, in the user's own runtime directory otherwise.
    pub pidfile: PathBuf,
    /// In `/var/log` for root, beside the pidfile otherwise.
    pub log: PathBuf,
}

impl Places {
    /// The places of the service of this name, for the user who starts it.
    ///
    /// # Errors
    /// If there is no directory that is this user's alone.
    pub fn of(service: &str) -> io::Result<Self> {
        let run = if geteuid().is_root() {
            "/run".into()
        } else {
            runtime_directory(service)?
        };
        // Ubuntu lets the group syslog write /var/log, and the library opens no file for root where
        // others have a say.
        let log = Path::new("/var/log");
        let log = if is_own(log) { log } else { &run };
        Ok(Self {
            log: log.join(format!("{service}.log")),
            pidfile: run.join(format!("{service}.pid")),
        })
    }
}

/// An ordinary user's directory for such files: the one that the login made or, where none did, as
/// in a container or under su(1), which keeps that of another user, one below the directory for
/// temporary files.
fn runtime_directory(service: &str) -> io::Result<PathBuf> {
    let of_the_login = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| is_own(path));
    if let Some(path) = of_the_login {
        return Ok(path);
    }
    let path = env::temp_dir().join(format!("{service}-{}", geteuid()));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)?;
    // Anyone may have made it before, to have a hand in what is written there.
    let foreign = || {
        io::Error::other(format!(
            "the directory {} is not this user's alone",
            path.display()
        ))
    };
    is_own(&path).then_some(path.clone()).ok_or_else(foreign)
}

/// Whether it is a directory of this user's (no symbolic link to one), and nobody else may write
/// it.
fn is_own(directory: &Path) -> bool {
    fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0
    })
}
