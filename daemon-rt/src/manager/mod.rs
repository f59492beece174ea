//! The new-style daemon's side of the service managers' protocols.

mod activation;
mod notify;
mod pid1;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(not(target_os = "linux"))]
#[path = "relay_none.rs"]
mod relay;
mod watchdog;

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, open};
use nix::libc::pid_t;
use nix::sys::stat::Mode as FileMode;
use nix::unistd::{getpid, getppid, read};

use crate::daemon::Mode;
use crate::error::Error;
use crate::inherited::{retry, take_variable};
use crate::sys::StartOfMain;

pub(crate) use activation::pass;
pub use activation::{Listener, listener_or, listeners};
pub(crate) use notify::notifier;
pub use notify::{remove_stored_fd, store_fd};
pub(crate) use pid1::{is_init, serve_as_init};
pub use watchdog::{Watchdog, watchdog};

/// The names under which the usual supervisors run, cut at the 15 bytes that the kernel keeps.
const SUPERVISORS: [&str; 10] = [
    "runsv",
    "s6-supervise",
    "supervise",
    "supervise-daemo",
    "supervisord",
    "dinit",
    "tini",
    "docker-init",
    "dumb-init",
    "catatonit",
];

/// Where this process was started: read first of all, and taken out of the environment before anything that could
/// hand it on can run.
pub(crate) struct Surroundings {
    mode: Option<Mode>,
    supervised: bool,
    descriptors: Vec<RawFd>,
}

impl Surroundings {
    pub(crate) fn take(start: &StartOfMain) -> Result<Self, Error> {
        let mode = take_variable(start, "DAEMON_MODE");
        let executed = take_variable(start, "SYSTEMD_EXEC_PID").and_then(|pid| parse(&pid));
        let has_pidfile = take_variable(start, "PIDFILE").is_some();
        let socket = take_variable(start, "NOTIFY_SOCKET").filter(|socket| is_meant(socket, executed));
        let fd = take_variable(start, "DAEMON_NOTIFY_FD");
        let activated = activation::take(start);
        watchdog::take(start);

        let this = getpid().as_raw();
        let supervised = is_init()
            || getppid().as_raw() == 0
            || (executed == Some(this) && !has_pidfile)
            || socket.is_some()
            || activated
            || fd.is_some()
            || (std::env::var_os("XPC_SERVICE_NAME").is_some() && getppid().as_raw() == 1)
            || parent_supervises();

        let mode = match mode.as_deref().map(OsStr::to_str) {
            None => None,
            Some(Some("detach")) => Some(Mode::Detach),
            Some(Some("foreground")) => Some(Mode::Foreground),
            Some(_) => {
                let value = mode.unwrap_or_default();
                return Err(Error::usage(format!("DAEMON_MODE={value:?}"), "it is \"detach\" or \"foreground\""));
            }
        };
        let descriptors = activation::descriptors().chain(notify::set_up(socket, fd)).collect();
        Ok(Self { mode, supervised, descriptors })
    }

    /// What `auto` means here.
    pub(crate) fn mode(&self, wanted: Mode) -> Mode {
        match (wanted, self.mode) {
            (Mode::Auto, Some(mode)) => mode,
            (Mode::Auto, None) if self.supervised => Mode::Foreground,
            (Mode::Auto, None) => Mode::Detach,
            (decided, _) => decided,
        }
    }

    /// The descriptors that belong to the protocols.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().copied()
    }
}

/// Whether the socket was given to this process: systemd's own reaches everything below a service, a shell that an
/// administrator opened there included. To PID 1 of a pid namespace the manager's numbers mean nothing, and nobody else
/// has started it.
fn is_meant(socket: &OsStr, executed: Option<pid_t>) -> bool {
    let from_systemd = socket.as_bytes().ends_with(b"/systemd/notify");
    let near = |pid| pid == getpid().as_raw() || pid == getppid().as_raw();
    !from_systemd || is_init() || executed.is_none_or(near)
}

fn parent_supervises() -> bool {
    // With its newline a name is no longer than this.
    let mut name = [0; 16];
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let read = open(format!("/proc/{}/comm", getppid()).as_str(), flags, FileMode::empty())
        .and_then(|file| retry(|| read(&file, &mut name)));
    read.is_ok_and(|length| SUPERVISORS.iter().any(|known| known.as_bytes() == name[..length].trim_ascii_end()))
}

/// A number in a variable.
fn parse<T: std::str::FromStr>(value: &OsString) -> Option<T> {
    value.to_str()?.parse().ok()
}
