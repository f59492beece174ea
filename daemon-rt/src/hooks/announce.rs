//! Step 14: readiness.

use crate::control::handover;
use crate::error::Error;
use crate::report::{self, log};
use crate::service::listen;
use crate::steps::pidfile;
use crate::sys;

/// The service is ready, and whoever waits for that is told.
#[inline]
pub(crate) fn announce() -> Result<(), Error> {
    pidfile::verify()?;
    let restart = handover::answer_calls()?;
    pidfile::ready()?;
    let untaken = listen::untaken();
    report::tell_starter(&untaken)?;
    if let Some(restart) = restart {
        if !restart.await_commit() {
            let text = "the restart was given up before it was complete: the old instance goes on";
            log::error(text);
            sys::exit_now(0);
        }
    }
    listen::close_untaken();
    report::ready(&untaken);
    Ok(())
}
