//! Sockets that the manager has opened for the service, see sd_listen_fds(3).

use std::ffi::OsString;
use std::os::fd::{OwnedFd, RawFd};

use nix::libc::pid_t;
use nix::unistd::getpid;

use crate::sys::{self, FIRST, StartOfMain, is_init, parse, take_variable};

/// What systemd calls a socket that has no name.
pub(crate) const UNNAMED: &str = "unknown";

/// A descriptor that was passed to this process, with its name.
pub(crate) struct PassedFd {
    pub(crate) name: String,
    pub(crate) fd: OwnedFd,
}

/// What was passed to this process, or what is wrong with the variables that say so.
pub(crate) type Passed = Result<Vec<PassedFd>, String>;

/// Reads the variables of the protocol; `None` if they are not meant for this process.
pub(super) fn take(start: &StartOfMain) -> Option<Passed> {
    let pid = take_variable(start, "LISTEN_PID").and_then(|pid| parse::<pid_t>(&pid));
    let pidfd = take_variable(start, "LISTEN_PIDFDID").and_then(|id| parse::<u64>(&id));
    let count = take_variable(start, "LISTEN_FDS");
    let names = take_variable(start, "LISTEN_FDNAMES");
    let is_own = |id| sys::own_pidfd_id().is_none_or(|own| own == id);
    let is_named = pid == Some(getpid().as_raw()) && pidfd.is_none_or(is_own);
    // To PID 1 of a pid namespace the numbers mean nothing: systemd 257 gives the pid outside, and
    // 262 gives the pidfd of the process that made the namespace. That the descriptors are there
    // must do.
    let may_be = is_init() && pid.is_some();
    if !is_named && !may_be {
        return None;
    }
    match adopt(count, names) {
        Err(_) if !is_named => None,
        passed => Some(passed),
    }
}

/// Names may be missing or empty; names in excess mean nothing.
fn adopt(count: Option<OsString>, names: Option<OsString>) -> Passed {
    const MOST: RawFd = 1 << 16;
    let count = count.unwrap_or_default();
    let wrong = || {
        format!(
            "LISTEN_FDS={}: it is not the number of open descriptors from 3 up",
            count.to_string_lossy()
        )
    };
    let number = parse::<RawFd>(&count)
        .filter(|number| (0..=MOST).contains(number))
        .ok_or_else(wrong)?;
    let names = names.unwrap_or_default().to_string_lossy().into_owned();
    let mut names = names
        .split(':')
        .map(|name| if name.is_empty() { UNNAMED } else { name });
    let mut passed = Vec::new();
    for fd in FIRST..FIRST + number {
        let fd = sys::adopt_inherited(fd).map_err(|_| wrong())?;
        let name = names.next().unwrap_or(UNNAMED).to_owned();
        passed.push(PassedFd { name, fd });
    }
    Ok(passed)
}
