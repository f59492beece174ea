//! The end of the old instance after the commit: it is told to end, and has a limit.

use std::io;
use std::time::Duration;

use nix::unistd::Pid;

use crate::control::instance::{End, Instance};
use crate::report::log;

/// The old instance, and how long it may take to end.
pub(super) struct Old {
    pub(super) instance: Instance,
    pub(super) patience: Duration,
}

/// How much longer the new instance waits than the restarter, which has more rights and a person to
/// tell.
const GRACE: Duration = Duration::from_secs(1);

impl Old {
    /// Has the new instance see to the end of the old one: the restarter may be gone by then.
    pub(super) fn watch(self) {
        let limit = self.patience.saturating_add(GRACE);
        let watch = move || {
            if let Some(line) = self.end_within(limit) {
                log::error(&line);
            }
            if !self.instance.has_pidfd() {
                // It is the pidfile that is open in its place, and to close that would drop this
                // process's own mark on it.
                std::mem::forget(self);
            }
        };
        // Without a thread the restarter's word has to do.
        _ = super::service::spawn(watch);
    }

    /// Waits for the end, and brings it about where it does not come; what there is to say of it.
    pub(super) fn end_within(&self, limit: Duration) -> Option<String> {
        let pid = self.instance.pid;
        match self.instance.end_within(limit) {
            Ok(End::InTime) => None,
            Ok(End::Killed) => Some(format!(
                "the old instance did not end in {limit:?} and was killed (pid {pid})"
            )),
            Err(error) => Some(lives_on(pid, limit, &error)),
        }
    }
}

fn lives_on(pid: Pid, limit: Duration, error: &io::Error) -> String {
    format!(
        "the old instance did not end in {limit:?} and could not be killed (pid {pid}): {error}"
    )
}
