//! Service files: what a manager has to know of this service, printed from the service's own
//! settings.
//!
//! A service file starts the service as root if any of its settings needs root. The service gives
//! root up by itself, and verifies that: after the pidfile, which only root may forge, after
//! `privileged_init` and `chroot`. Only systemd can give it up beforehand, and does if no setting
//! needs root (see [`systemd`]). In the foreground the service leaves streams, umask and working
//! directory to its manager: the service file has them as they are set. Those that are left at
//! daemon(7)'s defaults (a umask of 0, `/dev/null`) are the manager's to choose.

mod beside;
mod called;
mod dinit;
mod dropper;
mod file;
mod hardening;
mod input;
mod launchd;
mod openrc;
mod prepare;
mod procd;
mod quote;
mod rc_d;
mod resources;
mod run;
mod sandbox;
mod scan;
mod sockets;
mod supervisord;
mod systemd;
mod sysv;
mod template;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(super) use self::file::{ServiceFile, ServiceFiles};
use self::input::UnitInput;
pub(super) use self::input::{Scope, UnitOptions, plain_name};
pub(super) use self::quote::shell_line;
use crate::daemon::Daemon;
use crate::daemon::action::Manager;
use crate::error::Error;

/// The service files for this very binary.
pub(super) fn service_files(
    daemon: &Daemon,
    manager: Manager,
    options: &UnitOptions,
) -> Result<ServiceFiles, Error> {
    render(daemon, manager, &called::executable()?, options)
}

/// The directories of the logs that the manager opens before the service could make them.
pub(super) fn log_directories(
    daemon: &Daemon,
    manager: Manager,
    options: &UnitOptions,
) -> Result<Vec<PathBuf>, Error> {
    let mut all = Vec::new();
    if let Manager::Systemd | Manager::Supervisord = manager {
        let input = UnitInput::new(daemon, manager, &called::executable()?, options)?;
        for (directory, _) in prepare::directories(&input) {
            if prepare::has_log(&input, &directory) {
                all.push(directory);
            }
        }
    }
    Ok(all)
}

fn render(
    daemon: &Daemon,
    manager: Manager,
    executable: &Path,
    options: &UnitOptions,
) -> Result<ServiceFiles, Error> {
    if manager != Manager::Systemd {
        options.refuse_what_only_systemd_has(manager)?;
    }
    let takes_root = daemon.gives_up_root() || daemon.chroot.is_some();
    if options.scope == Scope::User && takes_root {
        let problem = "the settings user and chroot take root";
        return Err(Error::usage("--user", problem));
    }
    let input = UnitInput::new(daemon, manager, executable, options)?;
    match manager {
        Manager::Systemd => systemd::units(&input),
        Manager::Openrc => Ok(openrc::script(&input)),
        Manager::S6 => Ok(scan::s6(&input)),
        Manager::S6Rc => Ok(scan::s6_rc(&input)),
        Manager::Runit => Ok(scan::runit(&input)),
        Manager::Supervisord => supervisord::program(&input),
        Manager::Launchd => Ok(launchd::property_list(&input)),
        Manager::Sysv => sysv::script(&input),
        Manager::Dinit => Ok(dinit::description(&input)),
        Manager::Procd => Ok(procd::script(&input)),
        Manager::RcD => rc_d::script(&input),
        Manager::Sysusers => beside::sysusers(&input),
        Manager::Tmpfiles => beside::tmpfiles(&input),
        Manager::Logrotate => beside::logrotate(&input),
    }
}
