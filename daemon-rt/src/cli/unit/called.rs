//! The command line as it was called.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use crate::error::Error;

/// The path by which this binary was called. It may be a symbolic link: an upgrade changes that,
/// and removes what is behind it.
pub(super) fn executable() -> Result<PathBuf, Error> {
    let running = match env::current_exe() {
        Ok(path) => path,
        Err(error) => return Err(Error::usage("the path of this binary", error.to_string())),
    };
    let is_gone = running
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(b" (deleted)");
    for path in candidates() {
        // After an upgrade another file is there, which will be the next one to start.
        if is_running(&path) || (is_gone && path.is_file()) {
            return Ok(path);
        }
    }
    if is_gone {
        let problem = "the file was removed: call the one that is to be started";
        return Err(Error::usage("the path of this binary", problem));
    }
    Ok(running)
}

/// The paths that the first word may stand for.
fn candidates() -> Vec<PathBuf> {
    let called = match env::args_os().next() {
        Some(word) => PathBuf::from(word),
        None => return Vec::new(),
    };
    let mut paths = Vec::new();
    if called.as_os_str().as_encoded_bytes().contains(&b'/') {
        paths.extend(absolute(&called));
    } else if let Some(list) = env::var_os("PATH") {
        for directory in env::split_paths(&list) {
            paths.extend(absolute(directory.join(&called)));
        }
    }
    paths
}

fn is_running(path: &Path) -> bool {
    // The name of a descriptor, by which fexecve(3) calls it.
    if path.starts_with("/proc") || path.starts_with("/dev/fd") {
        return false;
    }
    match (fs::metadata(path), fs::metadata("/proc/self/exe")) {
        (Ok(file), Ok(running)) => (file.dev(), file.ino()) == (running.dev(), running.ino()),
        _ => false,
    }
}

/// The words of this call before the command, and what is to be said of them.
///
/// A manager starts the service in another directory: what is certainly a path from here becomes an
/// absolute one.
pub(super) fn words_before(command: &str, pidfile: Option<&Path>) -> (Vec<String>, Vec<String>) {
    let mut words: Vec<String> = env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match words.iter().rposition(|word| word == command) {
        Some(end) => words.truncate(end),
        None => words.clear(),
    }
    let mut notes = Vec::new();
    for word in &mut words {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if option.starts_with('-') => (format!("{option}="), value),
            _ => (String::new(), word.as_str()),
        };
        let path = Path::new(value);
        let is_pidfile = pidfile.is_some() && absolute(path).ok().as_deref() == pidfile;
        if path.is_absolute() || !(is_pidfile || is_from_here(path)) {
            continue;
        }
        if !is_pidfile && !value.contains('/') && value != "." && value != ".." {
            notes.push(format!(
                "\"{value}\" is a file where this was printed, but not where the service runs: if it is meant, give its whole path."
            ));
        } else if let Ok(path) = absolute(value) {
            *word = format!("{option}{}", path.display());
        }
    }
    (words, notes)
}

/// Checks whether there is such a file here, or its directory: the service may be the one that makes
/// it, as a pidfile.
fn is_from_here(path: &Path) -> bool {
    match path.parent() {
        Some(directory) if directory != Path::new("") => directory.is_dir() || path.exists(),
        _ => path.exists(),
    }
}
