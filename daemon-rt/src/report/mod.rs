//! Reports progress, readiness and failure: to the starter or, in the foreground, the terminal; and
//! to the manager.

pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod pipe;
pub(crate) mod syslog;
pub(crate) mod text;

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::syslog::Severity;

use crate::error::{During, Error, ErrorKind, Failure};
use crate::report::notify::notifier;
use crate::report::pipe::{LONGEST_PROGRESS, Message, Reporter};
use crate::step::Step;

static REPORT: Mutex<Report> = Mutex::new(Report {
    starter: None,
    phase: Phase::Outside,
    statuses: Vec::new(),
    last_status: String::new(),
});

/// The object of a message to the starter that fails.
pub(crate) const TO_STARTER: &str = "the pipe to the starter";

struct Report {
    starter: Option<Reporter>,
    phase: Phase,
    /// The exit statuses of the program's own.
    statuses: Vec<(ErrorKind, u8)>,
    /// What the service is doing, since it is ready.
    last_status: String,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// The service was not started by this library, or not yet.
    Outside,
    Starting,
    Ready,
}

fn report() -> MutexGuard<'static, Report> {
    REPORT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a start has begun, the name of the service if one was set, and the program's own exit
/// statuses.
pub(crate) fn begin(name: Option<&String>, statuses: &[(ErrorKind, u8)]) {
    if let Some(name) = name {
        log::set_name(name);
    }
    let mut report = report();
    report.phase = Phase::Starting;
    report.statuses = statuses.to_vec();
}

/// Gives a failure the exit status that the program has for its kind, if it has one.
pub(crate) fn with_own_status(failure: Failure) -> Failure {
    failure.with_own_status(&report().statuses)
}

/// Reports to the starter from now on. Until the daemon is ready, the starter reports to the
/// manager for it.
#[inline]
pub(crate) fn set_starter(reporter: Reporter) {
    notifier().close_fd();
    report().starter = Some(reporter);
}

pub(crate) fn is_starting() -> bool {
    report().phase == Phase::Starting
}

/// Tells the starter, the terminal or the manager what the service is doing.
pub(crate) fn status(text: &str) {
    let text = &text::one_line(text, LONGEST_PROGRESS);
    let mut report = report();
    let starting = report.phase == Phase::Starting;
    match &mut report.starter {
        Some(starter) => starter.progress(text),
        None if starting && !notifier().exists() => {
            log::print_at_once(Severity::LOG_INFO, text);
        }
        None if starting => notifier().progress(text),
        None => {
            report.last_status.clone_from(text);
            notifier().status(text);
        }
    }
}

/// Returns what the service was doing when it last said so.
pub(crate) fn last_status() -> String {
    report().last_status.clone()
}

/// Tells the manager, once, that the service has seen the request to terminate.
pub(crate) fn stopping() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| notifier().send("STOPPING=1"));
}

/// Sends the starter the warnings that it prints, and that the service is ready. Without a starter
/// it only checks that the manager can be told.
pub(crate) fn tell_starter(warnings: &[String]) -> Result<(), Error> {
    let Some(starter) = &mut report().starter else {
        return notifier().verify();
    };
    for warning in warnings {
        let warning = Message::Warning(warning.clone());
        starter.tell(&warning).during(Step::Notify, TO_STARTER)?;
    }
    starter
        .tell(&Message::Ready)
        .during(Step::Notify, TO_STARTER)?;
    Ok(())
}

/// Notes that the service is ready. If no starter has been told, prints the warnings and tells the
/// manager.
pub(crate) fn ready(warnings: &[String]) {
    let mut report = report();
    report.phase = Phase::Ready;
    if report.starter.take().is_none() {
        for line in warnings {
            log::error(line);
        }
        notifier().ready(None);
    }
}

/// Reports that the start has failed, to the starter or to the manager. Returns what is to be said in
/// the log, as no starter says it.
pub(crate) fn failed(failure: Failure) -> Option<String> {
    let text = failure.text.clone();
    if let Some(starter) = &mut report().starter {
        if matches!(starter.tell(&Message::Failed(failure)), Ok(true)) {
            return None;
        }
    } else {
        notifier().failed(&failure);
    }
    Some(text)
}

thread_local! {
    /// The message of this thread's last panic.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes a panic of this thread.
pub(crate) fn note_panic(text: String) {
    LAST_PANIC.set(text);
}

/// Returns the message of the panic for which this thread unwinds.
pub(crate) fn last_panic() -> String {
    let noted = LAST_PANIC.take();
    if noted.is_empty() {
        "panicked".to_owned()
    } else {
        noted
    }
}
