//! What has to be there before the service starts.

use std::path::{Path, PathBuf};

use super::input::UnitInput;
use super::quote::{shell, shell_line};
use crate::daemon::NameOrId;

/// On every system.
const ALWAYS_THERE: [&str; 8] = [
    "/",
    "/run",
    "/run/user",
    "/tmp",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/tmp",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Root,
    /// The user as whom the service runs.
    Service,
}

/// The directories that the settings name.
pub(super) fn directories(input: &UnitInput<'_>) -> Vec<(PathBuf, Owner)> {
    let mut all: Vec<(PathBuf, Owner)> = Vec::new();
    let mut add = |path: &Path, owner| {
        if !is_always_there(path) && all.iter().all(|(other, _)| other != path) {
            all.push((path.to_owned(), owner));
        }
    };
    for file in [&input.pidfile, &input.stdout, &input.stderr] {
        if let Some(directory) = file.as_ref().map(Path::new).and_then(Path::parent) {
            add(directory, Owner::Root);
        }
    }
    if let Some(chroot) = &input.chroot {
        add(Path::new(chroot), Owner::Root);
    }
    let owner = if input.daemon.gives_up_root() {
        Owner::Service
    } else {
        Owner::Root
    };
    add(&input.data(), owner);
    if let Some(state) = input.state() {
        add(&state, owner);
    }
    all
}

pub(super) fn is_always_there(directory: &Path) -> bool {
    ALWAYS_THERE
        .iter()
        .any(|known| directory == Path::new(known))
}

/// Tells whether a log is in this directory.
pub(super) fn has_log(input: &UnitInput<'_>, directory: &Path) -> bool {
    for log in [&input.stdout, &input.stderr].into_iter().flatten() {
        if Path::new(log).parent() == Some(directory) {
            return true;
        }
    }
    false
}

/// The commands that make the directories, without a change of those that are there.
pub(super) fn in_shell(input: &UnitInput<'_>) -> Vec<String> {
    make(input, &directories(input))
}

/// The same for these directories.
pub(super) fn make(input: &UnitInput<'_>, directories: &[(PathBuf, Owner)]) -> Vec<String> {
    let (mut of_root, mut of_service) = (vec!["mkdir", "-p"], Vec::new());
    for (path, owner) in directories {
        let path = path.to_str().unwrap_or_default();
        match (owner, owner_in_shell(input)) {
            (Owner::Service, Some(user)) => {
                let (path, user) = (shell(path), shell(&user));
                of_service.push(format!(
                    "test -d {path} || {{ mkdir -p {path} && chown {user} {path}; }}"
                ));
            }
            _ => of_root.push(path),
        }
    }
    let mut lines = Vec::new();
    if of_root.len() > 2 {
        lines.push(shell_line(&of_root));
    }
    lines.extend(of_service);
    lines
}

/// The owner of the service's files for chown(1).
fn owner_in_shell(input: &UnitInput<'_>) -> Option<String> {
    let user = input.daemon.user.as_ref()?;
    Some(match (&input.daemon.group, user) {
        (Some(group), _) => format!("{user}:{group}"),
        // The user's own group.
        (None, NameOrId::Name(_)) => format!("{user}:"),
        (None, NameOrId::Id(_)) => user.to_string(),
    })
}
