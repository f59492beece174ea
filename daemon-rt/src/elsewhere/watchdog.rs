//! The manager's watchdog, which is not there.

use std::time::Duration;

/// The manager's watchdog, see [`watchdog`].
#[derive(Clone, Copy, Debug)]
pub struct Watchdog(());

/// Returns the manager's watchdog. There is none on a system that is not Unix.
pub fn watchdog() -> Watchdog {
    Watchdog(())
}

impl Watchdog {
    /// Returns how often to ping: `None`.
    pub fn interval(self) -> Option<Duration> {
        None
    }

    /// Does nothing.
    pub fn ping(self) {}
}
