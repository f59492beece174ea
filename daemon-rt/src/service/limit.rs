//! The limit on the time that the service takes to end, from the request to terminate.

use std::io;
use std::sync::{Once, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;

use super::requests::SHUTDOWN;
use super::selfpipe::SelfPipe;
use crate::report::log;
use crate::status;
use crate::steps::pidfile;
use crate::sys;

/// How long the message may take: a thread that hangs may hold standard error.
const PATIENCE: Duration = Duration::from_secs(1);

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
            if let Err(error) = spawn(Box::new(|| end_after(*limit, request))) {
                log::error(&format!("`stop_timeout` has no effect: {error}"));
            }
        });
    }
}

/// Runs this in a thread that takes none of the service's signals.
fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name("stop_timeout".to_owned());
    builder.spawn(|| {
        _ = SigSet::all().thread_block();
        work();
    })
}

fn end_after(limit: Duration, request: &SelfPipe) {
    while !request.is_pending() {
        request.wait(None);
    }
    thread::sleep(limit);
    let say = move || log::error(&format!("it did not end within {limit:?}, and ends now"));
    if let Ok(saying) = spawn(Box::new(say)) {
        let began = Instant::now();
        while !saying.is_finished() && began.elapsed() < PATIENCE {
            thread::sleep(PATIENCE / 1000);
        }
    }
    pidfile::remove();
    sys::exit_now(status::NOT_ENDED);
}
