//! The look-up of a service by its pidfile.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, getpid};

use crate::error::Error;
use crate::steps::pidfile::{self, Holder, Life, Phase};
use crate::sys::safe_open::{SafePath, Untrusted};

/// Result of a look-up.
pub(super) enum Found {
    /// There is no pidfile.
    Nothing,
    /// No process holds the file. It names this process, if it names one.
    Stale(Option<Pid>),
    Held(Holder),
    /// Nothing is certain, for this reason.
    Unknown(String),
}

pub(super) fn find(pidfile: &Path) -> Result<Found, Error> {
    let file = match open(pidfile) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Found::Held(Holder::Main(getpid(), Phase::Ready))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(find_by_socket(pidfile));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Found::Unknown(format!(
                "the pidfile cannot be read: {error}"
            )));
        }
        Err(error) => return Err(failed(pidfile, error)),
    };
    match pidfile::find(file.as_fd(), pidfile) {
        Ok(pidfile::Found::Held(holder)) => Ok(Found::Held(holder)),
        Ok(pidfile::Found::Free(pid)) => Ok(Found::Stale(pid)),
        Ok(pidfile::Found::Lost(pid)) => Ok(Found::Unknown(format!(
            "the pidfile names pid {pid}, which runs but does not hold its lock"
        ))),
        Err(error) => Err(failed(pidfile, error)),
    }
}

/// Looks for a service that has no pidfile. systemd removes the pidfile of a unit whose start has
/// failed, whichever process it names: a service that listens on its control socket still runs.
fn find_by_socket(pidfile: &Path) -> Found {
    match pidfile::listener(pidfile) {
        Some(Life::Here(pid)) => Found::Held(Holder::Main(pid, Phase::Ready)),
        Some(Life::Elsewhere) => {
            let why = "its pidfile is missing, but a process in another pid namespace answers on its control socket";
            Found::Unknown(why.to_owned())
        }
        Some(Life::Unknown) | None => Found::Nothing,
    }
}

/// The older instances that still live.
pub(super) fn old_instances(pidfile: &Path) -> Result<Vec<Pid>, Error> {
    marked(pidfile, pidfile::old_instances)
}

/// Those of them that have not been told to end.
pub(super) fn kept_instances(pidfile: &Path) -> Result<Vec<Pid>, Error> {
    marked(pidfile, pidfile::kept_instances)
}

/// The sessions of older instances. One may have ended, and its number be another's.
#[cfg(feature = "cli")]
pub(super) fn old_sessions(pidfile: &Path) -> Result<Vec<Pid>, Error> {
    marked(pidfile, pidfile::old_sessions)
}

fn marked(pidfile: &Path, find: impl Fn(BorrowedFd<'_>) -> Vec<Pid>) -> Result<Vec<Pid>, Error> {
    match open(pidfile) {
        Ok(Some(file)) => Ok(find(file.as_fd())),
        Ok(None) => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(pidfile, error)),
    }
}

/// Checks whether the service says that it stays in the foreground.
pub(super) fn stays_in_foreground(pidfile: &Path) -> bool {
    match open(pidfile) {
        Ok(Some(file)) => pidfile::is_foreground(file.as_fd()),
        Ok(None) | Err(_) => false,
    }
}

/// Opens a pidfile to read it. Root relies on no file that another user can write. `None` where
/// this process is the service: to close the file would drop the locks that say so.
pub(super) fn open(pidfile: &Path) -> io::Result<Option<File>> {
    if !pidfile.is_absolute() {
        return Err(io::Error::other(
            "the path is relative, and the current directory is unknown",
        ));
    }
    let place = SafePath::of(pidfile)?;
    if pidfile::is_held_here(&place.stat()?) {
        return Ok(None);
    }
    let (file, found) = place.open(OFlag::O_RDONLY)?;
    let others = Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    if geteuid().is_root() && (found.st_uid != 0 || others) {
        return Err(Untrusted("a user other than root can write it".to_owned()).into());
    }
    Ok(Some(File::from(file)))
}

/// Describes a holder that is not the main process.
pub(super) fn describe(holder: Holder) -> String {
    match holder {
        Holder::LeftBehind { .. } => holder.to_string(),
        _ => format!("the pidfile is {holder}"),
    }
}

/// The failure of a command on the service that has this pidfile.
pub(super) fn failed(pidfile: &Path, error: io::Error) -> Error {
    Error::control(pidfile.display().to_string(), error)
}

/// The same failure with what failed: a call, a process.
pub(super) fn failed_at(pidfile: &Path, what: impl Display, error: io::Error) -> Error {
    Error::control(format!("{}: {what}", pidfile.display()), error)
}
