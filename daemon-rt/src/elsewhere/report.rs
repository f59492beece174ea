//! Reports progress and failure, on standard error.

#[path = "../report/text.rs"]
pub(crate) mod text;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{ErrorKind, Failure};

static STARTING: AtomicBool = AtomicBool::new(false);

/// The exit statuses of the program's own.
static STATUSES: Mutex<Vec<(ErrorKind, u8)>> = Mutex::new(Vec::new());

/// Notes that a start has begun, the name of the service if one was set, and the program's own exit
/// statuses.
pub(crate) fn begin(name: Option<&String>, statuses: &[(ErrorKind, u8)]) {
    if let Some(name) = name {
        log::set_name(name);
    }
    STARTING.store(true, Ordering::Release);
    *STATUSES.lock().unwrap_or_else(PoisonError::into_inner) = statuses.to_vec();
}

/// Gives a failure the exit status that the program has for its kind, if it has one.
pub(crate) fn with_own_status(failure: Failure) -> Failure {
    let statuses = STATUSES.lock().unwrap_or_else(PoisonError::into_inner);
    failure.with_own_status(&statuses)
}

pub(crate) fn is_starting() -> bool {
    STARTING.load(Ordering::Acquire)
}

/// Notes that the service is ready.
pub(crate) fn ready() {
    STARTING.store(false, Ordering::Release);
}

/// Returns what is to be said of a start that has failed.
pub(crate) fn failed(failure: Failure) -> Option<String> {
    Some(failure.text)
}

/// Does nothing: no reload asks for it.
pub(crate) fn note_panic(_: String) {}

/// Says what the service is doing, in a few words, on standard error. Once the service is ready, no
/// one is told.
pub fn status(text: &str) {
    if is_starting() {
        log::error(text);
    }
}

/// The service's messages.
pub(crate) mod log {
    use std::io::{self, Write};
    use std::process::ExitCode;
    use std::sync::{Mutex, PoisonError};

    use super::text::printable;
    use crate::daemon::binary_name;

    static NAME: Mutex<Option<String>> = Mutex::new(None);

    /// Sets the name of the service, with which each message begins.
    pub(crate) fn set_name(name: &str) {
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// Writes `NAME: text` to standard error. It is not an error if it cannot be written.
    pub(crate) fn error(text: &str) {
        let name = NAME.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = name.unwrap_or_else(binary_name);
        let line = format!("{name}: {}\n", printable(text));
        _ = io::stderr().lock().write_all(line.as_bytes());
    }

    /// There is no system log to take its place.
    pub(crate) fn is_stderr_null() -> bool {
        false
    }

    /// Has std print how the main loop ended.
    pub(crate) fn print_end(report: impl FnOnce() -> ExitCode) -> ExitCode {
        report()
    }

    /// The same: what it prints is not captured.
    pub(crate) fn capture(report: impl FnOnce() -> ExitCode) -> (ExitCode, String) {
        (report(), String::new())
    }
}
