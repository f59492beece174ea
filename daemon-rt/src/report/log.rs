//! Nothing is swallowed: errors go to standard error or, where that is `/dev/null`, to the system
//! log.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use nix::sys::stat::{SFlag, fstat};
use nix::syslog::Severity;
use nix::unistd::{dup, dup2_stderr};

use crate::report::pipe::pipe;
use crate::report::{self, syslog};
use crate::sys;
use crate::sys::safe_open::file_type;

/// Writes `NAME: text` to standard error; where that leads into systemd's journal, each line with
/// its severity. That nobody listens is no error.
pub(crate) fn say(severity: Severity, name: &str, text: &str) {
    let text = printable(text);
    let mark = if goes_to_journal() {
        format!("<{}>", severity as i32)
    } else {
        String::new()
    };
    let text = format!(
        "{mark}{name}: {}\n",
        text.replace('\n', &format!("\n{mark}"))
    );
    _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error is the stream that systemd names in `JOURNAL_STREAM`, see
/// systemd.exec(5).
fn goes_to_journal() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
        fstat(io::stderr())
            .is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
    })
}

/// Writes a message to where this process's errors go.
pub(crate) fn complain(name: &str, text: &str) {
    if goes_nowhere() {
        syslog::write(name, text);
    } else {
        say(Severity::LOG_ERR, name, text);
    }
}

/// Whether standard error is `/dev/null`.
pub(crate) fn goes_nowhere() -> bool {
    fstat(io::stderr()).is_ok_and(|stderr| {
        file_type(&stderr) == SFlag::S_IFCHR && sys::is_null_device(stderr.st_rdev)
    })
}

/// A text as it can be shown to a person: what steers a terminal, but line breaks and tabs, is
/// written as `\u{1b}`, so that what comes from a service without privileges does not steer one.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| steers(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_odd) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_odd(c) {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Whether a character is not shown but has an effect: a control character, one that turns the
/// direction of writing, or a separator of lines.
pub(crate) fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Has `report` print how the main loop ended, as std does it at the end of `main`. Where that
/// would go nowhere, what it prints is caught and goes to the system log instead.
pub(crate) fn relay(report: impl FnOnce() -> ExitCode) -> ExitCode {
    let (code, text) = if goes_nowhere() {
        capture(report)
    } else {
        (report(), String::new())
    };
    if !text.is_empty() {
        syslog::write(&report::name(), &text);
    }
    code
}

/// Runs `report` with its standard error led into a pipe, and returns what it wrote: at most what a
/// pipe holds.
pub(crate) fn capture(report: impl FnOnce() -> ExitCode) -> (ExitCode, String) {
    let caught = || -> nix::Result<_> {
        let (read, write) = pipe()?;
        let stderr = dup(io::stderr())?;
        dup2_stderr(write)?;
        Ok((read, stderr))
    };
    let Ok((read, stderr)) = caught() else {
        return (report(), String::new());
    };
    let code = report();
    _ = dup2_stderr(stderr);
    let mut text = Vec::new();
    // The pipe does not block: at its end, whoever may still hold the other side, there is no more
    // to read.
    _ = std::fs::File::from(read).read_to_end(&mut text);
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Writes out what is buffered, so that a fork or the end of this process neither doubles nor loses
/// it.
pub(crate) fn flush() {
    _ = io::stdout().flush();
    _ = io::stderr().flush();
    sys::flush_c_streams();
}
