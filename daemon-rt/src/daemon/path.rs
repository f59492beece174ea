//! The paths of the settings, as they are meant in the current directory.

use std::path::{Path, PathBuf};

use crate::error::Error;

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
    if ["", ".", ".."].contains(&name) || name.contains(['/', '\0', '\n']) {
        let problem = "must not be empty, '.' or '..', or contain '/', NUL or a newline";
        return Err(Error::usage(format!("name {name:?}"), problem));
    }
    Ok(())
}
