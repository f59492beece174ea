//! Starting the service from a program that goes on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use super::instance::{self, DYING};
use super::memory::memory_file;
use super::start_error::StartError;
use super::wait::until_end;
use super::{Control, Started};
use crate::error::ALREADY_RUNNING;
use crate::status;
use crate::steps::pidfile::Phase;
use crate::sys;

/// The variables by which managers speak to a process. The caller's are not the service's.
const PROTOCOLS: [&str; 12] = [
    "DAEMON_NOTIFY_FD",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "MAINPID",
    "NOTIFY_SOCKET",
    "PIDFILE",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Number of starts where the instance that was running ends meanwhile.
const TRIES: u8 = 3;
/// Length of the text of a starter that is kept, from its end.
const LONGEST_TEXT: u64 = 16 * 1024;

/// Starts the service of this control by a command, until an instance is ready.
pub(super) fn launch(
    control: &Control,
    command: &mut Command,
    patience: Duration,
) -> Result<Started, StartError> {
    for name in PROTOCOLS {
        command.env_remove(name);
    }
    command.env("DAEMON_MODE", "detach");
    command.env("DAEMON_LAUNCHED", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // One that lies beyond what the clock can tell never comes.
    let deadline = Instant::now().checked_add(patience);
    let mut tries = 0;
    loop {
        tries += 1;
        let mut starter = Starter::execute(command)?;
        if !starter.ends_by(deadline) {
            return Err(starter.give_up(patience));
        }
        match instance_after(control, &starter) {
            Ok(Some(instance)) => return Ok(instance),
            Ok(None) if tries < TRIES => {}
            Ok(None) => return Err(StartError::new(starter.status, starter.text())),
            Err(error) => return Err(error),
        }
    }
}

/// The instance that is ready when this starter has ended. `None` if the starter has left the
/// service to an instance that has ended since.
fn instance_after(control: &Control, starter: &Starter) -> Result<Option<Started>, StartError> {
    let text = starter.text();
    let already_running = match starter.status {
        Some(status) if status.success() => false,
        Some(status) if status.code() == Some(status::ALREADY_RUNNING.into()) => true,
        Some(status) if text.is_empty() => {
            let message = format!("the starter has ended without a message: {status}");
            return Err(StartError::new(Some(status), message));
        }
        Some(_) => return Err(StartError::new(starter.status, text)),
        // Another part of this program has waited for it: the text and the lock tell.
        None => text.contains(ALREADY_RUNNING),
    };
    match instance::main_process(&control.pidfile) {
        Ok(Some((pid, Phase::Ready))) => Ok(Some(Started {
            pid: sys::id_of(pid),
            already_running,
        })),
        Ok(None) if already_running => Ok(None),
        Ok(_) if !text.is_empty() => Err(StartError::new(starter.status, text)),
        Ok(_) => Err(StartError::new(
            starter.status,
            format!("{}: the service does not run", control.pidfile.display()),
        )),
        Err(error) => Err(StartError::new(starter.status, error.to_string())),
    }
}

/// A starter that was executed.
struct Starter {
    process: Child,
    /// `None` without pidfds, or if it has been waited for already.
    handle: Option<OwnedFd>,
    /// The file that is its standard error.
    text: File,
    /// The name with which its messages begin.
    name: String,
    /// How it has ended, if this is known.
    status: Option<ExitStatus>,
}

impl Starter {
    fn execute(command: &mut Command) -> Result<Self, StartError> {
        let refused = |error| StartError::system("a file in memory", error);
        let text = memory_file(c"starter").map_err(refused)?;
        let copy = text.try_clone().map_err(refused)?;
        let spawned = command.stderr(copy).spawn();
        // The command would keep it open.
        command.stderr(Stdio::null());
        let program = Path::new(command.get_program());
        let process = match spawned {
            Ok(process) => process,
            Err(error) => {
                let what = format!("cannot execute {}", program.display());
                return Err(StartError::system(what, error));
            }
        };
        let name = program.file_name().unwrap_or_default();
        Ok(Self {
            handle: sys::pidfd_open(sys::pid_of(process.id())).ok(),
            process,
            text,
            name: name.to_string_lossy().into_owned(),
            status: None,
        })
    }

    /// Waits for its end; `false` if the time is over before.
    fn ends_by(&mut self, deadline: Option<Instant>) -> bool {
        match until_end(&mut self.process, self.handle.as_ref(), deadline) {
            Ok(Some(status)) => {
                self.status = Some(status);
                true
            }
            Ok(None) => false,
            // The caller ignores SIGCHLD, or another part of it has waited for this process.
            Err(_) => true,
        }
    }

    /// Ends it. SIGKILL would leave its daemon to go on; at SIGTERM it ends that first.
    fn give_up(mut self, patience: Duration) -> StartError {
        let mut message = format!("not ready within {patience:?}");
        let text = self.text();
        if !text.is_empty() {
            message = format!("{message}: {text}");
        }
        for signal in [libc::SIGTERM, libc::SIGCONT] {
            _ = self.signal(signal);
        }
        if !self.ends_by(Some(Instant::now() + DYING)) {
            let pid = self.process.id();
            message = format!("{message} (the starter, pid {pid}, does not end at SIGTERM)");
        }
        StartError::timed_out(self.status, message)
    }

    fn signal(&self, signal: i32) -> nix::Result<()> {
        match &self.handle {
            Some(handle) => sys::pidfd_send_signal(handle.as_fd(), signal),
            None => sys::kill(sys::pid_of(self.process.id()), signal),
        }
    }

    /// What it has printed, without its name.
    fn text(&self) -> String {
        let bytes = read_end(&self.text).unwrap_or_default();
        let prefix = format!("{}: ", self.name);
        let mut text = String::new();
        for line in String::from_utf8_lossy(&bytes).trim().lines() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line.strip_prefix(&prefix).unwrap_or(line));
        }
        text
    }
}

/// Reads the last of what the starter has written.
fn read_end(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LONGEST_TEXT);
    let mut bytes = vec![0; usize::try_from(length - start).unwrap_or_default()];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}
