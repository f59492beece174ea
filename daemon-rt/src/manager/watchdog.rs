//! The manager's watchdog, which restarts a service that stops pinging it.

use std::sync::OnceLock;
use std::time::Duration;

use nix::libc::pid_t;
use nix::unistd::getpid;

use crate::report::notify::notifier;
use crate::sys::{Start, is_init, parse, take_number, take_variable};

static LIMIT: OnceLock<Duration> = OnceLock::new();

/// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`. If the manager started a wrapper, they are meant for
/// another process.
pub(super) fn take(start: &Start) {
    let limit = take_number(start, "WATCHDOG_USEC");
    let is_meant = match take_variable(start, "WATCHDOG_PID") {
        Some(pid) => parse::<pid_t>(&pid) == Some(getpid().as_raw()) || is_init(),
        None => true,
    };
    match limit {
        Some(usec) if is_meant && usec > 0 => _ = LIMIT.set(Duration::from_micros(usec)),
        _ => {}
    }
}

/// The manager's watchdog, see [`watchdog`].
#[derive(Clone, Copy, Debug)]
pub struct Watchdog(());

/// Returns the manager's watchdog (`WatchdogSec=` of a systemd unit). The manager kills and
/// restarts a service that does not [`ping`](Watchdog::ping) in time. The setting
/// [`watchdog`](crate::Daemon::watchdog) has `unit` print such a unit.
///
/// ```no_run
/// use daemon_rt::{shutdown, watchdog};
///
/// if let Some(interval) = watchdog().interval() {
///     while !shutdown().wait_timeout(interval) {
///         // … if all is well:
///         watchdog().ping();
///     }
/// }
/// ```
pub fn watchdog() -> Watchdog {
    Watchdog(())
}

impl Watchdog {
    /// Returns how often to ping: at half the limit of the manager, as sd_watchdog_enabled(3)
    /// recommends. `None` if there is no watchdog.
    pub fn interval(self) -> Option<Duration> {
        let limit = LIMIT.get()?;
        Some(*limit / 2)
    }

    /// Tells the manager that the service is alive. Does nothing if there is no watchdog.
    pub fn ping(self) {
        if LIMIT.get().is_some() {
            notifier().send("WATCHDOG=1");
        }
    }
}
