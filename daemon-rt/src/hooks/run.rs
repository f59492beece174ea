//! Running the user's hooks: what an `Err` and a panic in them come to.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

#[cfg(not(unix))]
use crate::end;
use crate::error::{self, Failure};
use crate::hooks::BoxError;
use crate::report::{self, log};
#[cfg(unix)]
use crate::service::end;
use crate::status;

/// The hook that reads the configuration.
pub(crate) const CONFIGURE: &str = "configure";

thread_local! {
    /// The hook that this thread runs. A panic of another thread does not fail the start.
    static RUNNING: Cell<Option<&'static str>> = const { Cell::new(None) };
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a hook, if there is one.
#[inline]
pub(crate) fn run<F>(name: &'static str, hook: Option<F>) -> Result<(), Failure>
where
    F: FnOnce() -> Result<(), BoxError>,
{
    let Some(hook) = hook else { return Ok(()) };
    // What the error says, and how it is dropped, is the service's own code, too.
    watch(name, || hook().map_err(|error| returned(name, error)))?
}

/// The failure of a hook that has returned an error.
pub(crate) fn returned(name: &'static str, error: BoxError) -> Failure {
    let (errno, kind) = (error::system_errno(&*error), error::kind_of(&*error));
    let text = error::chain(&*error);
    drop(error);
    Failure {
        kind,
        errno,
        ..failed(name, &text)
    }
}

/// The failure of a hook, with its reason.
pub(crate) fn failed(name: &'static str, reason: &str) -> Failure {
    let status = if name == CONFIGURE {
        status::NOT_CONFIGURED
    } else {
        status::HOOK_FAILED
    };
    Failure {
        status,
        kind: None,
        errno: None,
        text: format!("cannot {}: {reason}", action(name)),
    }
}

/// Runs what belongs to the start; a panic in it is a failure like any other.
pub(crate) fn watch<T>(name: &'static str, function: impl FnOnce() -> T) -> Result<T, Failure> {
    RUNNING.set(Some(name));
    let result = panic::catch_unwind(AssertUnwindSafe(function));
    RUNNING.set(None);
    // The panic's own message is noted by `note`, unless the program has replaced the panic hook.
    result.map_err(|payload| {
        let failure = panicked(name, PANIC.take(), payload.as_ref());
        // It might panic where it is dropped. The process is about to end.
        std::mem::forget(payload);
        failure
    })
}

fn panicked(name: &'static str, noted: String, payload: &(dyn Any + Send)) -> Failure {
    let how = if noted.is_empty() {
        format!("panicked: {}", message(payload))
    } else {
        noted
    };
    Failure {
        status: status::PANICKED,
        kind: None,
        errno: None,
        text: format!("cannot {}: `{name}` {how}", action(name)),
    }
}

fn action(hook: &str) -> &'static str {
    if hook == CONFIGURE {
        "configure"
    } else {
        "initialize"
    }
}

/// Has panics noted, in addition to what the program's own panic hook does: while a hook runs for
/// the starter, later for the system log.
pub(crate) fn watch_panics() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        note(info);
        previous(info);
    }));
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info
        .location()
        .map_or_else(String::new, |location| format!(" at {location}"));
    let text = format!("panicked{place}: {}", message(info.payload()));
    report::note_panic(text.clone());
    match RUNNING.get() {
        // Nobody will catch it.
        Some(name) if cfg!(panic = "abort") => fail(panicked(name, text, info.payload())),
        Some(_) => PANIC.set(text),
        None if log::is_stderr_null() => {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("<unnamed>").to_owned();
            log::error(&format!("thread '{name}' {text}"));
        }
        None => {}
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(not a text)",
    }
}

/// Ends this process, whose start has failed: says so to whoever waits, and removes the pidfile.
pub(crate) fn fail(failure: Failure) -> ! {
    let failure = report::with_own_status(failure);
    let status = failure.status;
    let words = report::failed(failure);
    end::with_last_words(status, words.as_deref())
}
