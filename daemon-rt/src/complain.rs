//! Nothing is swallowed: errors go to standard error or, where that is `/dev/null`, to the system log.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Once;

use nix::sys::stat::{SFlag, fstat};
use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};
use nix::unistd::{dup, dup2_stderr};

use crate::handshake::pipe;
use crate::surroundings::is_null_device;
use crate::trusted::kind;
use crate::{audience, sys};

/// Writes `NAME: text` to standard error; where that leads into systemd's journal, each line with its severity. That
/// nobody listens is no error.
pub(crate) fn say(severity: Severity, name: &str, text: &str) {
    let mark = if goes_to_journal() { format!("<{}>", severity as i32) } else { String::new() };
    let text = format!("{mark}{name}: {}\n", text.replace('\n', &format!("\n{mark}")));
    _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error is the stream that systemd names in `JOURNAL_STREAM`, see systemd.exec(5).
fn goes_to_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
        fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
    })
}

/// Writes a message to where this process's errors go.
pub(crate) fn complain(name: &str, text: &str) {
    if goes_nowhere() {
        log(name, text);
    } else {
        say(Severity::LOG_ERR, name, text);
    }
}

/// Whether standard error is `/dev/null`.
pub(crate) fn goes_nowhere() -> bool {
    fstat(io::stderr()).is_ok_and(|stderr| kind(&stderr) == SFlag::S_IFCHR && is_null_device(stderr.st_rdev))
}

/// Writes each line of a text to the system log. syslog(3) would end at a NUL, so that is written `\0`.
pub(crate) fn log(name: &str, text: &str) {
    connect_log(name);
    for message in text.replace('\0', "\\0").lines().flat_map(messages) {
        _ = syslog(Priority::new(Severity::LOG_ERR, Facility::LOG_DAEMON), message);
    }
}

/// A line in parts that syslog(3) sends whole: musl cuts off what is beyond 1023 bytes, of which time, name and pid take
/// up to 64; others send what fits into a datagram.
fn messages(line: &str) -> impl Iterator<Item = &str> {
    const LONGEST: usize = if cfg!(target_env = "musl") { 900 } else { 1 << 15 };
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = (0..=line.len().min(LONGEST)).rfind(|&end| line.is_char_boundary(end))?;
        rest = (end < line.len()).then_some(&line[end..]);
        Some(&line[..end])
    })
}

/// Connects to the system log, which is out of reach after a chroot(2).
pub(crate) fn connect_log(name: &str) {
    static CONNECTED: Once = Once::new();
    CONNECTED.call_once(|| {
        let options = LogFlags::LOG_PID | LogFlags::LOG_NDELAY;
        #[cfg(target_os = "linux")]
        if let Ok(name) = std::ffi::CString::new(name) {
            // openlog(3) keeps the pointer.
            _ = openlog(Some(Box::leak(name.into_boxed_c_str())), options, Facility::LOG_DAEMON);
        }
        #[cfg(not(target_os = "linux"))]
        {
            _ = name;
            _ = openlog(None::<&str>, options, Facility::LOG_DAEMON);
        }
    });
}

/// Has `report` print how the main loop ended, as std does it at the end of `main`. Where that would go nowhere, what
/// it prints is caught and goes to the system log instead.
pub(crate) fn relay(report: impl FnOnce() -> ExitCode) -> ExitCode {
    let (code, text) = if goes_nowhere() { capture(report) } else { (report(), String::new()) };
    if !text.is_empty() {
        log(&audience::name(), &text);
    }
    code
}

/// Runs `report` with its standard error led into a pipe, and returns what it wrote: at most what a pipe holds.
pub(crate) fn capture(report: impl FnOnce() -> ExitCode) -> (ExitCode, String) {
    let caught = || -> nix::Result<_> {
        let (read, write) = pipe()?;
        let stderr = dup(io::stderr())?;
        dup2_stderr(write)?;
        Ok((read, stderr))
    };
    let Ok((read, stderr)) = caught() else { return (report(), String::new()) };
    let code = report();
    _ = dup2_stderr(stderr);
    let mut text = Vec::new();
    // The pipe does not block: at its end, whoever may still hold the other side, there is no more to read.
    _ = std::fs::File::from(read).read_to_end(&mut text);
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Writes out what is buffered, so that a fork or the end of this process neither doubles nor loses it.
pub(crate) fn flush() {
    _ = io::stdout().flush();
    _ = io::stderr().flush();
    sys::flush_c_streams();
}
