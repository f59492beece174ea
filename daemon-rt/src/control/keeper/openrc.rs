//! Services of OpenRC, by what it keeps of those that it has started.

use std::path::Path;

use nix::unistd::Pid;

use super::remedy::{Caller, Keeper, Remedy};

const STATE: &str = "/run/openrc";

/// The service whose traditional daemon OpenRC finds by this pidfile.
pub(super) fn by_pidfile(pidfile: &Path) -> Option<Keeper> {
    let pidfile = pidfile.canonicalize().ok()?;
    let name = service_with("pidfile", |named| match Path::new(named).canonicalize() {
        Ok(named) => named == pidfile,
        Err(_) => false,
    })?;
    if Path::new(STATE).join("started").join(&name).exists() {
        Some(keeper(&name, Caller::ManagerThatFollows))
    } else {
        None
    }
}

/// The service that supervise-daemon(8) runs as this process.
pub(super) fn supervised(service: Pid) -> Option<Keeper> {
    let name = service_with("child_pid", |child| child == service.to_string())?;
    Some(keeper(&name, Caller::Manager))
}

/// The service of which OpenRC keeps a value that `matches`.
fn service_with(key: &str, matches: impl Fn(&str) -> bool) -> Option<String> {
    for options in std::fs::read_dir(Path::new(STATE).join("options")).ok()? {
        let Ok(options) = options else { continue };
        if let Ok(value) = std::fs::read_to_string(options.path().join(key)) {
            if matches(value.trim()) {
                return options.file_name().into_string().ok();
            }
        }
    }
    None
}

/// `inside` is who calls if the service's own script does.
fn keeper(name: &str, inside: Caller) -> Keeper {
    let remedy = Remedy::commands(
        &["rc-service", name, "restart"],
        &["rc-service", name, "stop"],
    );
    let mut keeper = Keeper::new("OpenRC", name, remedy);
    // Their names in newer versions of OpenRC, and in older ones. There may be none.
    keeper.groups = vec![format!("/openrc.{name}"), format!("/{name}")];
    // Set for what a service's script runs.
    if std::env::var("RC_SVCNAME").as_deref() == Ok(name) {
        keeper.caller = inside;
    }
    keeper
}
