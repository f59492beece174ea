//! The paths of the settings, as the person meant them who stood in the current directory.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::{Daemon, Pidfile};
use crate::error::{During, Error};
use crate::step::Step;

/// A path as the person meant it who stood in the current directory.
pub(crate) fn absolute(setting: &str, path: &Path) -> Result<PathBuf, Error> {
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

/// Makes sure that a name can be part of a path and of a line.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains(['/', '\0', '\n']) {
        return Err(Error::usage(
            format!("name {name:?}"),
            "a name is not empty and holds no '/', NUL or newline",
        ));
    }
    Ok(())
}

/// Where the pidfile is going to be, if there is to be one.
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
