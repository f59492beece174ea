//! The sandbox of a systemd unit.

use std::collections::BTreeMap;
use std::path::Path;

use super::dropper::Dropper;
use super::hardening::{BEYOND_SYSTEM_SERVICE, HARDENING};
use super::input::UnitInput;
use super::prepare::is_always_there;
use super::quote::systemd_word;
use crate::daemon::Place;

pub(super) fn settings(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let used = used_paths(input);
    let is_used = |places: &[&str]| {
        let is_below = |path: &&Path| places.iter().any(|place| path.starts_with(place));
        used.iter().any(is_below)
    };
    let mut lines = vec![
        "# It can write here, and nowhere else: add what it needs to ReadWritePaths=.".to_owned(),
        "ProtectSystem=strict".to_owned(),
    ];
    lines.extend(writable(input, dropper));
    let home = if is_used(&["/home", "/root", "/run/user"]) {
        "read-only"
    } else {
        "yes"
    };
    lines.push(format!("ProtectHome={home}"));
    if !is_used(&["/tmp", "/var/tmp"]) {
        lines.push("PrivateTmp=yes".to_owned());
    }
    lines.extend(restrictions(input, dropper));
    lines
}

/// The restrictions under which the service can still use its capabilities.
fn restrictions(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let kept = &input.daemon.capabilities;
    // A service that stays root has every capability, and a reason for it that is not among the
    // settings.
    let has = |capability: &&str| {
        dropper == Dropper::Neither || kept.iter().any(|kept| kept == capability)
    };
    let mut lines = Vec::new();
    for (restriction, capabilities) in HARDENING {
        if !capabilities.iter().any(has) {
            lines.push(restriction.to_owned());
        }
    }
    if !BEYOND_SYSTEM_SERVICE.iter().any(has) {
        let chroot = match input.chroot {
            Some(_) => " chroot",
            None => "",
        };
        lines.push(format!("SystemCallFilter=@system-service{chroot}"));
    }
    lines
}

/// The paths that the sandbox must not hide.
fn used_paths<'a>(input: &'a UnitInput<'_>) -> Vec<&'a Path> {
    let mut paths = vec![Path::new(&input.executable), Path::new(&input.directory)];
    paths.extend(input.chroot.as_ref().map(Path::new));
    paths.extend(input.pidfile.as_ref().map(Path::new));
    paths
}

/// The directories that the service writes, as far as its settings tell: those of pidfile, data and
/// logs.
fn writable(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |(setting, value): (&'static str, &str)| {
        // It is not there when ExecStartPre= makes it.
        let value = if setting == READ_WRITE_PATHS && !is_always_there(Path::new(value)) {
            systemd_word(&format!("-{value}"))
        } else {
            systemd_word(value)
        };
        let list = values.entry(setting).or_default();
        if !list.contains(&value) {
            list.push(value);
        }
    };
    if input.daemon.runtime_directory {
        match (&input.daemon.pidfile, dropper) {
            // The service makes it: RUNTIME_DIRECTORY would move the pidfile from its usual place.
            (Some(Place::Usual), Dropper::Service | Dropper::Neither) => {
                add(existing(Path::new("/run")));
            }
            // The first, which is the one that the service gets.
            _ => add((RUNTIME_DIRECTORY, &input.full_name)),
        }
    }
    let pidfile = input.pidfile.as_ref().map(Path::new);
    if let Some(directory) = pidfile.and_then(Path::parent) {
        add(created(directory));
    }
    for log in [&input.stdout, &input.stderr].into_iter().flatten() {
        match Path::new(log).parent() {
            // It opens a rotated log again.
            Some(directory) if input.daemon.reloads => add(created(directory)),
            _ => {}
        }
    }
    let mut data = vec![input.data()];
    data.retain(|data| data != Path::new("/"));
    data.extend(input.state());
    for data in &data {
        match dropper {
            // systemd would create it for root, as whom it starts the service.
            Dropper::Service => add(existing(data)),
            Dropper::Manager | Dropper::Neither => add(created(data)),
        }
    }
    let mut lines = Vec::new();
    for (setting, values) in &values {
        lines.push(format!("{setting}={}", values.join(" ")));
    }
    if pidfile.is_some() && values.contains_key(RUNTIME_DIRECTORY) {
        // A start that finds another instance running must not take that one's pidfile away.
        lines.push("RuntimeDirectoryPreserve=yes".to_owned());
    }
    lines
}

pub(super) const READ_WRITE_PATHS: &str = "ReadWritePaths";
const RUNTIME_DIRECTORY: &str = "RuntimeDirectory";

/// The setting that makes a directory writable, and its value: systemd creates the directory if
/// that can be.
pub(super) fn created(path: &Path) -> (&'static str, &str) {
    const PLACES: [(&str, &str); 4] = [
        ("/run", RUNTIME_DIRECTORY),
        ("/var/lib", "StateDirectory"),
        ("/var/cache", "CacheDirectory"),
        ("/var/log", "LogsDirectory"),
    ];
    for (place, setting) in PLACES {
        let Ok(name) = path.strip_prefix(place) else {
            continue;
        };
        match name.to_str() {
            // A colon would begin the name of a symbolic link.
            Some(name) if !name.is_empty() && !name.contains([':', ' ']) => return (setting, name),
            _ => {}
        }
    }
    existing(path)
}

/// The same for a directory that systemd does not create.
fn existing(path: &Path) -> (&'static str, &str) {
    (READ_WRITE_PATHS, path.to_str().unwrap_or_default())
}
