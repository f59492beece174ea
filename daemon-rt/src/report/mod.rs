//! Whom the service tells about its start and its state: the starter or, in the foreground, the
//! person at the terminal; and its manager.

pub(crate) mod log;
pub(crate) mod notify;
pub(crate) mod pipe;
pub(crate) mod syslog;

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::syslog::Severity;

use crate::control::handover;
use crate::daemon::binary_name;
use crate::error::{During, Error};
use crate::report::notify::notifier;
use crate::report::pipe::{Failure, Message, Reporter};
use crate::service::listen;
use crate::step::Step;
use crate::steps::pidfile;
use crate::sys;

static AUDIENCE: Mutex<Audience> = Mutex::new(Audience {
    starter: None,
    phase: Phase::Outside,
});
/// Apart from the rest, for whoever warns of something while the rest is locked.
static NAME: Mutex<Option<String>> = Mutex::new(None);

/// What a message to the starter that fails is said to be.
pub(crate) const TO_STARTER: &str = "the pipe to the starter";

struct Audience {
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

fn audience() -> MutexGuard<'static, Audience> {
    AUDIENCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on there is a start to speak of, by this name if one was set.
pub(crate) fn begin(name: Option<&String>) {
    if let Some(name) = name {
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
    }
    audience().phase = Phase::Starting;
}

/// From here on the starter listens at the other end of a pipe, and speaks for the daemon to a
/// manager until the daemon is ready.
#[inline]
pub(crate) fn set_starter(reporter: Reporter) {
    notifier().leave_readiness();
    audience().starter = Some(reporter);
}

pub(crate) fn is_starting() -> bool {
    audience().phase == Phase::Starting
}

pub(crate) fn name() -> String {
    NAME.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
        .unwrap_or_else(binary_name)
}

/// Says what the service is doing, in a few words.
///
/// Before the service is ready it is shown on the terminal of the person who started it: rewritten
/// in place there, a line each where standard error is no terminal. Control characters become
/// spaces, and of texts beyond 500 bytes the beginning is shown. A manager is told at any time
/// (`STATUS=`), and before readiness waits for another 30 seconds (`EXTEND_TIMEOUT_USEC=`). It
/// never blocks: a terminal that is stopped misses it.
pub fn status(text: &str) {
    pidfile::warn_if_lost();
    let mut audience = audience();
    let starting = audience.phase == Phase::Starting;
    match &mut audience.starter {
        Some(starter) => starter.progress(text),
        None if starting && !notifier().exists() => {
            log::say(Severity::LOG_INFO, &name(), text);
        }
        None => notifier().status(text, starting),
    }
}

/// The service has seen the request to terminate.
pub(crate) fn stopping() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        pidfile::warn_if_lost();
        notifier().send("STOPPING=1");
    });
}

/// Step 14: the service is ready, and whoever waits for that is told.
pub(crate) fn ready() -> Result<(), Error> {
    pidfile::verify()?;
    handover::verify()?;
    handover::answer_calls()?;
    pidfile::ready();
    let untaken = listen::untaken();
    if let Some(starter) = &mut audience().starter {
        for line in &untaken {
            starter
                .tell(&Message::Warning(line.clone()))
                .during(Step::Notify, TO_STARTER)?;
        }
        starter
            .tell(&Message::Ready)
            .during(Step::Notify, TO_STARTER)?;
    } else {
        notifier().check()?;
    }
    if !handover::await_go() {
        log::complain(
            &name(),
            "the restart was given up before it was complete: the old instance goes on",
        );
        sys::exit_now(0);
    }
    listen::close_untaken();
    let mut audience = audience();
    audience.phase = Phase::Ready;
    if audience.starter.take().is_none() {
        for line in &untaken {
            log::complain(&name(), line);
        }
        notifier().ready(None);
    }
    Ok(())
}

/// The start has failed: says so to whoever waits for it, and ends this process.
pub(crate) fn fail(failure: Failure) -> ! {
    let status = failure.status;
    let mut audience = audience();
    let text = failure.text.clone();
    let told = if let Some(starter) = &mut audience.starter {
        starter.tell(&Message::Failed(failure)).unwrap_or(false)
    } else {
        notifier().failed(&failure);
        false
    };
    if !told {
        log::complain(&name(), &text);
    }
    log::flush();
    pidfile::remove();
    sys::exit_now(status)
}
