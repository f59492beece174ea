//! The new-style daemon's side of the service managers' protocols.

mod activation;
#[cfg(target_os = "linux")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) mod keeper;
#[cfg(not(target_os = "linux"))]
#[path = "keeper_none.rs"]
pub(crate) mod keeper;
mod notify;
mod pid1;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(not(target_os = "linux"))]
#[path = "relay_none.rs"]
mod relay;
mod supervisor;
mod watchdog;

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use nix::libc::pid_t;
use nix::unistd::{getpid, getppid};

use crate::daemon::Mode;
use crate::error::Error;
use crate::inherited::take_variable;
use crate::sys::StartOfMain;

pub(crate) use notify::notifier;
pub use notify::{remove_stored_fd, store_fd};
pub(crate) use pid1::{is_init, serve_as_init};
use supervisor::Supervisor;
pub use watchdog::{Watchdog, watchdog};

/// Where this process was started: read first of all, and taken out of the environment before
/// anything that could hand it on can run.
pub(crate) struct Surroundings {
    mode: Option<Mode>,
    supervised: bool,
    /// `SYSTEMD_EXEC_PID` is all that says so.
    #[cfg_attr(
        not(all(feature = "cli", target_os = "linux")),
        allow(dead_code, reason = "the command line asks for it")
    )]
    executed_by_systemd: bool,
    descriptors: Vec<RawFd>,
}

impl Surroundings {
    pub(crate) fn take(start: &StartOfMain) -> Result<Self, Error> {
        let mode = take_variable(start, "DAEMON_MODE");
        let executed = take_variable(start, "SYSTEMD_EXEC_PID").and_then(|pid| parse(&pid));
        let has_pidfile = take_variable(start, "PIDFILE").is_some();
        let socket =
            take_variable(start, "NOTIFY_SOCKET").filter(|socket| is_meant(socket, executed));
        let fd = take_variable(start, "DAEMON_NOTIFY_FD");
        let passed = activation::take(start);
        watchdog::take(start);

        let this = getpid().as_raw();
        let otherwise = is_init()
            || getppid().as_raw() == 0
            || socket.is_some()
            || passed.is_some()
            || fd.is_some()
            || (std::env::var_os("XPC_SERVICE_NAME").is_some() && getppid().as_raw() == 1)
            || Supervisor::of(getppid(), getpid()).is_some();
        let executed_by_systemd = !otherwise && executed == Some(this) && !has_pidfile;
        let supervised = otherwise || executed_by_systemd;

        let mode = match mode.as_deref().map(OsStr::to_str) {
            None => None,
            Some(Some("detach")) => Some(Mode::Detach),
            Some(Some("foreground")) => Some(Mode::Foreground),
            Some(_) => {
                let value = mode.unwrap_or_default();
                return Err(Error::usage(
                    format!("DAEMON_MODE={value:?}"),
                    "it is \"detach\" or \"foreground\"",
                ));
            }
        };
        let descriptors = passed
            .into_iter()
            .flatten()
            .chain(notify::set_up(socket, fd))
            .collect();
        Ok(Self {
            mode,
            supervised,
            executed_by_systemd,
            descriptors,
        })
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

    /// What a typed `start` means here.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn mode_of_typed_start(&self, wanted: Mode) -> Mode {
        match (wanted, self.mode) {
            (Mode::Auto, None) if self.executed_by_systemd => keeper::unit_start::mode(),
            _ => self.mode(wanted),
        }
    }

    /// Has a start that names no command say where it stays in the foreground, and should hardly.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn check_bare_start(&self, wanted: Mode) {
        if wanted == Mode::Auto && self.mode.is_none() && self.executed_by_systemd {
            keeper::unit_start::check_bare();
        }
    }

    /// A line for who finds the service running already: this process may be supervised without a
    /// sign of it. `None` where a person or a script has started it.
    pub(crate) fn hint(&self) -> Option<String> {
        if self.mode.is_some() {
            None
        } else {
            supervisor::hint()
        }
    }

    /// The descriptors that belong to the protocols.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().copied()
    }
}

/// Whether the socket was given to this process: systemd's own reaches everything below a service,
/// a shell that an administrator opened there included. To PID 1 of a pid namespace the manager's
/// numbers mean nothing, and nobody else has started it.
fn is_meant(socket: &OsStr, executed: Option<pid_t>) -> bool {
    let from_systemd = socket.as_bytes().ends_with(b"/systemd/notify");
    let near = |pid| pid == getpid().as_raw() || pid == getppid().as_raw();
    !from_systemd || is_init() || executed.is_none_or(near)
}

/// A number in a variable.
fn parse<T: std::str::FromStr>(value: &OsString) -> Option<T> {
    value.to_str()?.parse().ok()
}
