//! The limit on the time that the service takes to end, from the request to terminate.

use std::sync::{Once, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::signal::SigSet;

use super::end;
use super::requests::SHUTDOWN;
use super::selfpipe::SelfPipe;
use crate::report::log;
use crate::status;

static LIMIT: OnceLock<Duration> = OnceLock::new();

/// Sets the limit. From now on this process may have threads.
pub(crate) fn set(limit: Option<Duration>) {
    if let Some(limit) = limit {
        LIMIT.get_or_init(|| limit);
        watch();
    }
}

/// Waits for the request in a thread, from when there is a limit and the service asks for requests.
pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    if let (Some(limit), Some(request)) = (LIMIT.get(), SHUTDOWN.get()) {
        WATCHED.call_once(|| {
            let builder = thread::Builder::new().name("stop_timeout".to_owned());
            if let Err(error) = builder.spawn(|| end_after(*limit, request)) {
                log::error(&format!("`stop_timeout` has no effect: {error}"));
            }
        });
    }
}

/// Ends this process when the time is over, in a thread that takes none of the service's signals.
fn end_after(limit: Duration, request: &SelfPipe) {
    _ = SigSet::all().thread_block();
    while !request.is_pending() {
        request.wait(None);
    }
    thread::sleep(limit);
    let words = format!("it did not end within {limit:?}, and ends now");
    end::with_last_words(status::NOT_ENDED, Some(&words));
}
