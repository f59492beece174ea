//! The settings that cannot be had.

use std::env;

use crate::daemon::path::check_name;
use crate::daemon::{Daemon, Mode};
use crate::error::Error;
use crate::report::log;

/// Refuses what the service would rely on: that it has given up privileges, or left its starter. A
/// pidfile that is missing is said. What a manager sees to on Unix, too, is not looked at.
pub(super) fn check(daemon: &Daemon) -> Result<(), Error> {
    if let Some(name) = &daemon.name {
        check_name(name)?;
    }
    for (setting, is_set) in [
        ("user", daemon.user.is_some()),
        ("group", daemon.group.is_some()),
        ("groups", daemon.groups.is_some()),
        ("chroot", daemon.chroot.is_some()),
        ("capabilities", !daemon.capabilities.is_empty()),
        ("no_new_privs", daemon.no_new_privs == Some(true)),
        ("runtime_directory", daemon.runtime_directory),
        ("state_directory", daemon.state_directory),
        ("restart", daemon.replacement.is_some()),
        ("mode: detach", daemon.mode == Mode::Detach),
        ("DAEMON_MODE=detach", is_to_detach(daemon)),
        ("keep_fds", !daemon.keep_fds.is_empty()),
        ("keep_fds_from", names_descriptor(daemon)),
    ] {
        if is_set {
            return Err(Error::unavailable_setting(setting));
        }
    }
    if daemon.pidfile.is_some() {
        log::error("no pidfile is written on this system: other instances can run beside this one");
    }
    Ok(())
}

fn is_to_detach(daemon: &Daemon) -> bool {
    daemon.mode == Mode::Auto && matches!(env::var("DAEMON_MODE").as_deref(), Ok("detach"))
}

fn names_descriptor(daemon: &Daemon) -> bool {
    let mut names = daemon.keep_fds_from.iter();
    names.any(|name| env::var_os(name).is_some())
}
