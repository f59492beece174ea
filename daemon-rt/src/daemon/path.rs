//! The paths of the settings, as they are meant in the current directory.

use std::io;
use std::path::{Path, PathBuf};

use super::{Daemon, Pidfile};
use crate::error::{During, Error};
use crate::step::Step;

/// A path as it is meant in the current directory.
pub(crate) fn absolute(setting: &str, path: &Path) -> Result<PathBuf, Error> {
    let object = || format!("{setting} \"{}\"", path.display());
    if path.as_os_str().is_empty() {
        return Err(Error::usage(object(), "must not be empty"));
    }
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.contains(&0) {
        return Err(Error::usage(object(), "must not contain NUL"));
    }
    if path.is_absolute() && !bytes.windows(2).any(|two| two == b"//" || two == b"/.") {
        return Ok(path.to_owned());
    }
    std::path::absolute(path).map_err(|error| Error::usage(object(), error.to_string()))
}

/// Makes sure that a name can be part of a path and of a line.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains(['/', '\0', '\n']) {
        let problem = "must not be empty or contain '/', NUL or a newline";
        return Err(Error::usage(format!("name {name:?}"), problem));
    }
    Ok(())
}

/// The path of the pidfile, if there is to be one.
pub(crate) fn pidfile(daemon: &Daemon) -> Result<Option<PathBuf>, Error> {
    match &daemon.pidfile {
        None => Ok(None),
        Some(Pidfile::At(path)) => Ok(Some(absolute("pidfile", path)?)),
        Some(Pidfile::Default) => {
            let name = daemon.get_name();
            check_name(&name)?;
            let file = format!("{name}.pid");
            let directory = runtime_directory().during(Step::WritePidfile, &file)?;
            Ok(Some(directory.join(file)))
        }
    }
}

#[cfg(unix)]
fn runtime_directory() -> io::Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/run"));
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path),
        _ => Err(io::Error::other(
            "XDG_RUNTIME_DIR is not an absolute path: set `pidfile` to one",
        )),
    }
}

#[cfg(not(unix))]
fn runtime_directory() -> io::Result<PathBuf> {
    Err(crate::error::not_available())
}
