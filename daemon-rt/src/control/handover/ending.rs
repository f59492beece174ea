//! The end of the old instance after the commit: it has been told to end, and has a limit.

use std::time::Duration;

use super::thread;
use crate::control::instance::{End, Instance};
use crate::report::log;

/// Time that the new instance waits longer than the restarter, which has more rights and a person
/// to tell.
const GRACE: Duration = Duration::from_secs(1);

/// The old instance, and how long it may take to end; `None` if it lives on.
pub(super) struct Old {
    pub(super) instance: Instance,
    pub(super) patience: Option<Duration>,
}

impl Old {
    /// Waits for the end in a thread of the new instance: the restarter may be gone by then.
    pub(super) fn watch(self) {
        let Some(patience) = self.patience else {
            return;
        };
        let limit = patience.saturating_add(GRACE);
        let watch = move || {
            if let Err(problem) = self.end_within(limit) {
                log::error(&problem);
            }
        };
        // Without a thread the restarter alone has to do that.
        _ = thread::spawn(watch);
    }

    /// Waits for the end, and kills the old instance when the time is up.
    ///
    /// # Errors
    /// If it did not end by itself, in words.
    pub(super) fn end_within(&self, limit: Duration) -> Result<(), String> {
        let pid = self.instance.pid;
        let how = match self.instance.end_within(limit) {
            Ok(End::InTime) => return Ok(()),
            Ok(End::Killed) => format!("was killed (pid {pid})"),
            Err(error) => format!("could not be killed (pid {pid}): {error}"),
        };
        Err(overdue(limit, &how))
    }
}

/// Says that the old instance had to be killed, and how that went.
pub(super) fn overdue(limit: Duration, how: &str) -> String {
    format!("the old instance did not end in {limit:?} and {how}")
}
