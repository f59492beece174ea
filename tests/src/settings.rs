//! The settings of a service, as the services under test take them on their command line.

use std::error::Error;
use std::time::Duration;

use daemon_rt::{Daemon, Mode};

/// Sets what an argument `KEY=VALUE` says; `false` if there is no such setting.
pub fn set(daemon: &mut Daemon, key: &str, value: &str) -> Result<bool, Box<dyn Error>> {
    // An argument cannot hold a NUL.
    let value = value.replace(r"\0", "\0");
    let value = value.as_str();
    let list = || value.split(',').filter(|item| !item.is_empty());
    match key {
        "name" => daemon.name(value),
        "pidfile" if value.is_empty() => daemon.default_pidfile(),
        "pidfile" => daemon.pidfile(value),
        "user" => daemon.user(value),
        "uid" => daemon.user(value.parse::<u32>()?),
        "group" => daemon.group(value),
        "groups" => daemon.groups(list()),
        "chroot" => daemon.chroot(value),
        "working_directory" => daemon.working_directory(value),
        "umask" => daemon.umask(u32::from_str_radix(value, 8)?),
        "keep_env" => daemon.keep_env(list()),
        "stdout" => daemon.stdout(value),
        "stderr" => daemon.stderr(value),
        "capabilities" => daemon.capabilities(list()),
        "no_new_privs" => daemon.no_new_privs(value.parse()?),
        "start_timeout" if value == "max" => daemon.start_timeout(Duration::MAX),
        "start_timeout" => daemon.start_timeout(Duration::from_millis(value.parse()?)),
        "control_socket" => daemon.control_socket(),
        "mode" => daemon.mode(match value {
            "detach" => Mode::Detach,
            "foreground" => Mode::Foreground,
            _ => Mode::Auto,
        }),
        _ => return Ok(false),
    };
    Ok(true)
}
