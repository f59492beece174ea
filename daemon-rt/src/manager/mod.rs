//! The new-style daemon's side of the service managers' protocols.

pub(crate) mod activation;
pub(crate) mod supervisor;
mod watchdog;

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::libc::pid_t;
use nix::unistd::{getpid, getppid};

use crate::daemon::Mode;
use crate::error::Error;
use crate::report::notify;
use crate::sys::{StartOfMain, is_init, parse, take_variable};

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
    passed: activation::Passed,
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
        let passed = passed.unwrap_or(Ok(Vec::new()));
        let mut descriptors = notify::connect_to_manager(socket, fd);
        if let Ok(passed) = &passed {
            descriptors.extend(passed.iter().map(|passed| passed.fd.as_raw_fd()));
        }
        Ok(Self {
            mode,
            supervised,
            executed_by_systemd,
            descriptors,
            passed,
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

    /// Whether this process has the mode `auto`, nothing decides it, and systemd has executed it.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn is_executed_by_systemd_alone(&self, wanted: Mode) -> bool {
        wanted == Mode::Auto && self.mode.is_none() && self.executed_by_systemd
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

    /// The sockets that the manager has passed.
    pub(crate) fn take_passed(&mut self) -> activation::Passed {
        std::mem::replace(&mut self.passed, Ok(Vec::new()))
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
