//! systemd: units of the system, or of a user.

use std::io;
use std::path::{Path, PathBuf};

use super::change::Change;
use super::layout::{Boot, Layout, Units, words};
use super::mark::{self, Found};
use crate::cli::unit::Scope;

const PACKAGED: [&str; 3] = ["/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"];

pub(super) fn layout(name: &str, scope: Scope) -> io::Result<Layout> {
    let (directory, kind, target) = match scope {
        Scope::System => (
            PathBuf::from("/etc/systemd/system"),
            "system",
            "multi-user.target.wants",
        ),
        Scope::User => (
            configuration_of_user()?.join("systemd/user"),
            "user",
            "default.target.wants",
        ),
    };
    let unit = format!("{name}.service");
    let systemctl = |verb: &str, units: &[&str]| {
        let mut command = vec!["systemctl"];
        if scope == Scope::User {
            command.push("--user");
        }
        command.push(verb);
        command.extend(units);
        words(&command)
    };
    let wanted = Path::new(target).join(&unit);
    let are_enabled = directory.join(wanted).symlink_metadata().is_ok();
    // With its sockets: else the next connection starts it again.
    let installed = match mark::find(&directory, &unit)? {
        Found::Untouched { files, .. } => files,
        Found::Nothing | Found::Changed(_) => vec![unit.clone()],
    };
    let installed: Vec<_> = installed.iter().map(String::as_str).collect();
    let packaged = PACKAGED.map(|place| Path::new(place).join(kind).join(&unit));
    Ok(Layout {
        name: name.to_owned(),
        directory,
        packaged: packaged.into(),
        boot: Boot::Commands {
            enable: vec![systemctl("enable", &[&unit])],
            disable: vec![systemctl("disable", &[&unit])],
        },
        units: Some(Units {
            disable: systemctl("disable", &[]),
            stop: systemctl("stop", &[]),
            are_enabled,
        }),
        reload: vec![systemctl("daemon-reload", &[])],
        start: vec![systemctl("start", &[&unit])],
        stop: vec![systemctl("stop", &installed)],
        forget: vec![
            Change::Run(systemctl("daemon-reload", &[])),
            // Of one that failed the state is kept. Of another there is none, which is an error.
            Change::Try(systemctl("reset-failed", &installed)),
        ],
        file: unit,
    })
}

/// `$XDG_CONFIG_HOME`.
fn configuration_of_user() -> io::Result<PathBuf> {
    if let Some(directory) = std::env::var_os("XDG_CONFIG_HOME") {
        if Path::new(&directory).is_absolute() {
            return Ok(directory.into());
        }
    }
    match std::env::var_os("HOME") {
        Some(home) if Path::new(&home).is_absolute() => Ok(Path::new(&home).join(".config")),
        _ => Err(io::Error::other("HOME is not set")),
    }
}
