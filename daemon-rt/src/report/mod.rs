//! Whom the service tells about its start and its state: the starter or, in the foreground, the
//! person at the terminal; and its manager.

pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod pipe;
pub(crate) mod syslog;

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::syslog::Severity;

use crate::daemon::binary_name;
use crate::error::{During, Error};
use crate::report::notify::notifier;
use crate::report::pipe::{Failure, Message, Reporter};
use crate::step::Step;

static REPORT: Mutex<Report> = Mutex::new(Report {
    starter: None,
    phase: Phase::Outside,
});
/// Apart from the rest, for whoever warns of something while the rest is locked.
static NAME: Mutex<Option<String>> = Mutex::new(None);

/// What a message to the starter that fails is said to be.
pub(crate) const TO_STARTER: &str = "the pipe to the starter";

struct Report {
    starter: Option<Reporter>,
    phase: Phase,
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

/// From here on there is a start to speak of, by this name if one was set.
pub(crate) fn begin(name: Option<&String>) {
    if let Some(name) = name {
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
    }
    report().phase = Phase::Starting;
}

/// From here on the starter listens at the other end of a pipe, and speaks for the daemon to a
/// manager until the daemon is ready.
#[inline]
pub(crate) fn set_starter(reporter: Reporter) {
    notifier().close_fd();
    report().starter = Some(reporter);
}

pub(crate) fn is_starting() -> bool {
    report().phase == Phase::Starting
}

pub(crate) fn name() -> String {
    NAME.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
        .unwrap_or_else(binary_name)
}

/// Tells the starter, the terminal or the manager what the service is doing.
pub(crate) fn status(text: &str) {
    let mut report = report();
    let starting = report.phase == Phase::Starting;
    match &mut report.starter {
        Some(starter) => starter.progress(text),
        None if starting && !notifier().exists() => {
            log::say(Severity::LOG_INFO, &name(), text);
        }
        None if starting => notifier().progress(text),
        None => notifier().status(text),
    }
}

/// The service has seen the request to terminate.
pub(crate) fn stopping() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        notifier().send("STOPPING=1");
    });
}

/// Sends the starter what it is to print, and that the service is ready; `false` if nobody waits
/// there, and the manager is to hear it.
pub(crate) fn tell_starter(warnings: &[String]) -> Result<(), Error> {
    let Some(starter) = &mut report().starter else {
        return notifier().verify();
    };
    let warnings = warnings.iter().cloned().map(Message::Warning);
    for message in warnings.chain([Message::Ready]) {
        starter.tell(&message).during(Step::Notify, TO_STARTER)?;
    }
    Ok(())
}

/// The service is ready. Where no starter has been told so, the warnings are printed here, and the
/// manager is told.
pub(crate) fn ready(warnings: &[String]) {
    let mut report = report();
    report.phase = Phase::Ready;
    if report.starter.take().is_none() {
        for line in warnings {
            log::complain(&name(), line);
        }
        notifier().ready(None);
    }
}

/// Says that the start has failed to whoever waits for it.
pub(crate) fn failed(failure: Failure) {
    let text = failure.text.clone();
    let told = if let Some(starter) = &mut report().starter {
        starter.tell(&Message::Failed(failure)).unwrap_or(false)
    } else {
        notifier().failed(&failure);
        false
    };
    if !told {
        log::complain(&name(), &text);
    }
    log::flush();
}

thread_local! {
    /// What is known of this thread's last panic.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes a panic of this thread.
pub(crate) fn note_panic(text: String) {
    LAST_PANIC.set(text);
}

/// What is known of the panic for which this thread unwinds.
pub(crate) fn last_panic() -> String {
    let noted = LAST_PANIC.take();
    if noted.is_empty() {
        "panicked".to_owned()
    } else {
        noted
    }
}
