//! supervisord: a file in the directory that its configuration includes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::change::{Change, Words, named};
use super::find::{self, Program};
use super::layout::{Boot, Layout, words};
use crate::control::keeper;

/// Time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The places where supervisord looks for its configuration, if it is not named.
const USUAL: [&str; 2] = ["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];

pub(super) fn layout(name: &str) -> io::Result<Layout> {
    let configuration = configuration()?;
    let (directory, ending) = included(&configuration)?;
    let configuration = configuration.display().to_string();
    let ctl = |verb| words(&["supervisorctl", "-c", &configuration, verb, name]);
    let file = format!("{name}{ending}");
    let is_known = directory.join(&file).exists() && is_known(&ctl("status"));
    Ok(Layout {
        name: name.to_owned(),
        directory,
        file,
        packaged: Vec::new(),
        boot: Boot::Unless("autostart = false"),
        units: None,
        reload: Vec::new(),
        // `update` starts it without waiting, and only where it is to be started at boot.
        start: vec![ctl("update"), ctl("start")],
        stop: Vec::new(),
        // It stops what its files no longer have.
        forget: if is_known {
            vec![Change::Run(ctl("update"))]
        } else {
            Vec::new()
        },
    })
}

/// Checks whether supervisord has seen the file.
fn is_known(status: &Words) -> bool {
    /// LSB: the state is unknown. So is the program, here.
    const UNKNOWN: i32 = 4;
    match keeper::output(status, PATIENCE) {
        Ok(output) => output.status.code() != Some(UNKNOWN),
        Err(_) => true,
    }
}

fn configuration() -> io::Result<PathBuf> {
    let process = find::process(Program::SUPERVISORD)?;
    if let Some(named) = keeper::configuration_of_supervisord(process) {
        return Ok(named.into());
    }
    match USUAL.map(Path::new).into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path.to_owned()),
        None => Err(io::Error::other(format!(
            "the configuration of supervisord (pid {process}) is not known: start it with -c and an absolute path"
        ))),
    }
}

/// The directory of the files that a configuration includes, and what their names end with: of
/// `files = /etc/supervisor/conf.d/*.conf`.
fn included(configuration: &Path) -> io::Result<(PathBuf, String)> {
    let text = match std::fs::read_to_string(configuration) {
        Ok(text) => text,
        Err(error) => return Err(named(configuration, &error)),
    };
    let here = configuration.parent().unwrap_or(Path::new("/"));
    let lines = text.lines().skip_while(|line| line.trim() != "[include]");
    for line in lines.skip(1).take_while(|line| !line.starts_with('[')) {
        let Some(("files", patterns)) = split(line) else {
            continue;
        };
        let patterns = patterns.replace("%(here)s", &here.to_string_lossy());
        for pattern in patterns.split_whitespace() {
            let path = here.join(pattern);
            if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
                if let Some(ending) = name.to_string_lossy().strip_prefix('*') {
                    return Ok((directory.to_owned(), ending.to_owned()));
                }
            }
        }
    }
    Err(io::Error::other(format!(
        "{}: it includes no directory: add `[include]` and `files = /etc/supervisor/conf.d/*.conf`",
        configuration.display()
    )))
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    Some((key.trim(), value.trim()))
}
