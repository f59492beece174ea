//! The rules of the mode `auto`: whether a service manager runs this process.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::libc::pid_t;
use nix::unistd::{getpid, getppid};

use super::activation::{self, Passed};
use super::supervisor::{self, Supervisor};
use super::watchdog;
use crate::daemon::Mode;
use crate::error::Error;
use crate::report::notify;
use crate::sys::{Start, is_init, take_number, take_variable};

/// The way in which this process was started, by its environment and its parent. It is read first,
/// and the variables are removed before any other process can inherit them.
pub(crate) struct Invocation {
    /// The mode that `DAEMON_MODE` sets.
    mode: Option<Mode>,
    /// A program waits for this start in `Control::launch`, as `DAEMON_LAUNCHED` says.
    is_launched: bool,
    evidence: Evidence,
    /// The descriptors that belong to the protocols.
    descriptors: Vec<RawFd>,
    passed: Passed,
}

/// The evidence that a service manager runs this process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    None,
    /// `SYSTEMD_EXEC_PID` alone.
    ExecPid,
    /// Something that only a manager does.
    Certain,
}

impl Invocation {
    pub(crate) fn take(start: &Start) -> Result<Self, Error> {
        let mode = take_variable(start, "DAEMON_MODE");
        let is_launched = take_variable(start, "DAEMON_LAUNCHED").is_some();
        let exec_pid = take_number(start, "SYSTEMD_EXEC_PID");
        let has_pidfile = take_variable(start, "PIDFILE").is_some();
        let mut socket = take_variable(start, "NOTIFY_SOCKET");
        if !is_meant(socket.as_deref(), exec_pid) {
            socket = None;
        }
        let fd = take_variable(start, "DAEMON_NOTIFY_FD");
        let passed = activation::take(start);
        watchdog::take(start);

        let (this, parent) = (getpid(), getppid());
        let is_certain = this.as_raw() == 1
            || parent.as_raw() == 0
            || socket.is_some()
            || passed.is_some()
            || fd.is_some()
            || (std::env::var_os("XPC_SERVICE_NAME").is_some() && parent.as_raw() == 1)
            || Supervisor::of(parent, this).is_some();
        let evidence = if is_certain {
            Evidence::Certain
        } else if exec_pid == Some(this.as_raw()) && !has_pidfile {
            Evidence::ExecPid
        } else {
            Evidence::None
        };

        let mode = parse_mode(mode)?;
        let passed = passed.unwrap_or(Ok(Vec::new()));
        let mut descriptors = notify::connect_to_manager(start, socket, fd);
        if let Ok(passed) = &passed {
            descriptors.extend(passed.iter().map(|passed| passed.fd.as_raw_fd()));
        }
        Ok(Self {
            mode,
            is_launched,
            evidence,
            descriptors,
            passed,
        })
    }

    /// Resolves the mode `auto`.
    pub(crate) fn mode(&self, wanted: Mode) -> Mode {
        match (wanted, self.mode) {
            (Mode::Auto, Some(mode)) => mode,
            (Mode::Auto, None) if self.evidence == Evidence::None => Mode::Detach,
            (Mode::Auto, None) => Mode::Foreground,
            (decided, _) => decided,
        }
    }

    /// Whether a program waits for this start in `Control::launch`: the starter is to wait for an
    /// instance that is starting, and to say with status 80 that there is one, whatever the settings
    /// are.
    pub(crate) fn is_launched(&self) -> bool {
        self.is_launched
    }

    /// Whether `auto` means the foreground here, and `SYSTEMD_EXEC_PID` alone says so.
    #[cfg(all(feature = "cli", target_os = "linux"))]
    pub(crate) fn is_decided_by_exec_pid(&self, wanted: Mode) -> bool {
        wanted == Mode::Auto && self.mode.is_none() && self.evidence == Evidence::ExecPid
    }

    /// A line for a start that finds the service running: the parent may be an unknown supervisor.
    /// `None` if a person or a script has started this process, or `DAEMON_MODE` is set.
    pub(crate) fn hint(&self) -> Option<String> {
        match self.mode {
            Some(_) => None,
            None => supervisor::hint(),
        }
    }

    /// Takes the sockets that the manager has passed.
    pub(crate) fn take_passed(&mut self) -> Passed {
        mem::replace(&mut self.passed, Ok(Vec::new()))
    }

    /// The descriptors that belong to the protocols.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().copied()
    }
}

fn parse_mode(value: Option<OsString>) -> Result<Option<Mode>, Error> {
    let Some(value) = value else { return Ok(None) };
    match value.to_str() {
        Some("detach") => Ok(Some(Mode::Detach)),
        Some("foreground") => Ok(Some(Mode::Foreground)),
        _ => Err(Error::usage(
            format!("DAEMON_MODE={value:?}"),
            "must be \"detach\" or \"foreground\"",
        )),
    }
}

/// Whether `NOTIFY_SOCKET` was set for this process. systemd's own reaches everything below a
/// service, even a shell that an administrator opened there; `SYSTEMD_EXEC_PID` says for which
/// process. To PID 1 of a pid namespace that pid means nothing, but only the manager starts it.
fn is_meant(socket: Option<&OsStr>, exec_pid: Option<pid_t>) -> bool {
    let (Some(socket), Some(exec_pid)) = (socket, exec_pid) else {
        return true;
    };
    let is_systemds = socket.as_bytes().ends_with(b"/systemd/notify");
    let is_near = exec_pid == getpid().as_raw() || exec_pid == getppid().as_raw();
    !is_systemds || is_init() || is_near
}
