//! Socket activation, see sd_listen_fds(3).

use std::ffi::OsString;
use std::os::fd::{OwnedFd, RawFd};

use nix::libc::pid_t;
use nix::unistd::getpid;

use crate::sys::{self, FIRST, Start, is_init, parse, take_number, take_variable};

/// The name that systemd gives to a socket without one.
pub(crate) const UNNAMED: &str = "unknown";

/// A descriptor that was passed to this process, with its name.
pub(crate) struct PassedFd {
    pub(crate) name: String,
    pub(crate) fd: OwnedFd,
}

/// The descriptors that were passed to this process, or what is wrong with the variables.
pub(crate) type Passed = Result<Vec<PassedFd>, String>;

/// Reads the variables of the protocol; `None` if they are not meant for this process.
pub(super) fn take(start: &Start) -> Option<Passed> {
    let pid: Option<pid_t> = take_number(start, "LISTEN_PID");
    let pidfd_id = take_number(start, "LISTEN_PIDFDID");
    let count = take_variable(start, "LISTEN_FDS");
    let names = take_variable(start, "LISTEN_FDNAMES");
    let pid = pid?;
    let is_named = pid == getpid().as_raw() && is_own_pidfd(pidfd_id);
    // In a pid namespace the numbers mean nothing to PID 1: systemd 257 sets the pid outside, and
    // 262 the pidfd of the process that made the namespace. It is enough that the descriptors are
    // open.
    if !is_named && !is_init() {
        return None;
    }
    match adopt(start, count, names) {
        Err(_) if !is_named => None,
        passed => Some(passed),
    }
}

/// Whether the pidfd is this process's, as far as the system tells.
fn is_own_pidfd(id: Option<u64>) -> bool {
    let Some(id) = id else { return true };
    match sys::own_pidfd_id() {
        Some(own) => id == own,
        None => true,
    }
}

/// Takes the descriptors. Names can be missing or empty; names in excess are ignored.
fn adopt(start: &Start, count: Option<OsString>, names: Option<OsString>) -> Passed {
    const MOST: RawFd = 1 << 16;
    let count = count.unwrap_or_default();
    let wrong = || {
        format!(
            "LISTEN_FDS={}: must be the number of open descriptors from 3 up",
            count.to_string_lossy()
        )
    };
    let Some(number @ 0..=MOST) = parse::<RawFd>(&count) else {
        return Err(wrong());
    };
    let names = names.unwrap_or_default().to_string_lossy().into_owned();
    let mut names = names.split(':');
    let mut passed = Vec::new();
    for fd in FIRST..FIRST + number {
        let Ok(fd) = sys::adopt_inherited(start, fd) else {
            return Err(wrong());
        };
        let name = match names.next() {
            None | Some("") => UNNAMED,
            Some(name) => name,
        };
        passed.push(PassedFd {
            name: name.to_owned(),
            fd,
        });
    }
    Ok(passed)
}
