//! The service's messages: to standard error or, if that is `/dev/null`, to the system log.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::libc::{self, dev_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::SFlag;
use nix::syslog::Severity;
use nix::unistd::{dup, dup2_stderr};

use super::syslog;
use super::text::printable;
use crate::daemon::binary_name;
use crate::sys;
use crate::sys::safe_open::file_type;
use crate::sys::stat::{fstat, ino_t};

/// The name of the service, if one was set.
static NAME: Mutex<Option<String>> = Mutex::new(None);

/// The pipe on which each line may begin with its severity.
static TAKES_SEVERITIES: OnceLock<(dev_t, ino_t)> = OnceLock::new();

/// Notes that each line on this stream may begin with its severity.
pub(crate) fn takes_severities(stream: impl AsFd) {
    if let Ok(found) = fstat(stream) {
        _ = TAKES_SEVERITIES.set((found.st_dev, found.st_ino));
    }
}

/// Sets the name of the service, with which each message begins.
pub(crate) fn set_name(name: &str) {
    *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
}

/// Returns the name of the service: that of its program if none was set.
pub(crate) fn name() -> String {
    match &*NAME.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(name) => name.clone(),
        None => binary_name(),
    }
}

/// Writes an error to standard error or, if that is `/dev/null`, to the system log.
pub(crate) fn error(text: &str) {
    if is_stderr_null() {
        syslog::write(&name(), text);
    } else {
        print(Severity::LOG_ERR, text);
    }
}

/// Writes `NAME: text` to standard error; each line with its severity if that is the journal's or the system log's.
/// It is not an error if it cannot be written.
pub(crate) fn print(severity: Severity, text: &str) {
    _ = io::stderr()
        .lock()
        .write_all(line(severity, text).as_bytes());
}

/// The same without waiting, see [`write_at_once`].
pub(crate) fn print_at_once(severity: Severity, text: &str) {
    write_at_once(&line(severity, text));
}

/// Writes what standard error takes without waiting. A terminal that is stopped, or a pipe that no
/// process reads, misses it.
pub(crate) fn write_at_once(text: &str) {
    let stderr = io::stderr();
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let Ok(1..) = poll(&mut room, PollTimeout::ZERO) else {
        return;
    };
    if stderr.is_terminal() {
        // It may have room, but too little. Opened once more, it can be asked not to wait.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = File::options()
            .write(true)
            .custom_flags(flags)
            .open("/dev/fd/2");
        if let Ok(mut terminal) = opened {
            _ = terminal.write(text.as_bytes());
            return;
        }
    }
    _ = stderr.lock().write_all(text.as_bytes());
}

fn line(severity: Severity, text: &str) -> String {
    let (name, text) = (name(), printable(text));
    let mark = if is_stderr_with_severities() {
        format!("<{}>", severity as i32)
    } else {
        String::new()
    };
    let text = text.replace('\n', &format!("\n{mark}"));
    format!("{mark}{name}: {text}\n")
}

/// Writes `NAME outcome` to standard output. It is not an error if it cannot be written.
pub(crate) fn say(outcome: &str) {
    let line = format!("{} {outcome}", name());
    _ = writeln!(io::stdout(), "{}", printable(&line));
}

/// Whether standard error is the stream that systemd names in `JOURNAL_STREAM`, see
/// systemd.exec(5), or leads to the system log.
fn is_stderr_with_severities() -> bool {
    let Ok(stderr) = fstat(io::stderr()) else {
        return false;
    };
    if TAKES_SEVERITIES.get() == Some(&(stderr.st_dev, stderr.st_ino)) {
        return true;
    }
    match std::env::var("JOURNAL_STREAM") {
        Ok(stream) => stream == format!("{}:{}", stderr.st_dev, stderr.st_ino),
        Err(_) => false,
    }
}

/// Whether standard error is `/dev/null`.
pub(crate) fn is_stderr_null() -> bool {
    match fstat(io::stderr()) {
        Ok(stderr) => file_type(&stderr) == SFlag::S_IFCHR && sys::is_null_device(stderr.st_rdev),
        Err(_) => false,
    }
}

/// Has std print how the main loop ended. If standard error is `/dev/null`, this goes to the system
/// log instead.
pub(crate) fn print_end(report: impl FnOnce() -> ExitCode) -> ExitCode {
    if !is_stderr_null() {
        return report();
    }
    let (code, text) = capture(report);
    if !text.is_empty() {
        syslog::write(&name(), &text);
    }
    code
}

/// Calls `report` and returns what it wrote to standard error, at most as much as a pipe holds.
pub(crate) fn capture(report: impl FnOnce() -> ExitCode) -> (ExitCode, String) {
    let Ok((pipe, stderr)) = stderr_to_pipe() else {
        return (report(), String::new());
    };
    let code = report();
    _ = dup2_stderr(stderr);
    let mut text = Vec::new();
    // The pipe does not block: this ends even if another process holds the other end.
    _ = File::from(pipe).read_to_end(&mut text);
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Leads standard error into a pipe; returns the pipe's other end, and what standard error was.
fn stderr_to_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = sys::pipe()?;
    let stderr = dup(io::stderr())?;
    dup2_stderr(write)?;
    Ok((read, stderr))
}

/// Flushes the buffers of Rust and C, so that a fork or the end of this process neither doubles nor
/// loses what is in them.
pub(crate) fn flush() {
    _ = io::stdout().flush();
    _ = io::stderr().flush();
    sys::flush_c_streams();
}
