//! The manager's watchdog: a service that stops answering is restarted.

use std::sync::OnceLock;
use std::time::Duration;

use nix::libc::pid_t;
use nix::unistd::getpid;

use crate::report::notify::notifier;
use crate::sys::{StartOfMain, is_init, parse, take_variable};

static LIMIT: OnceLock<Duration> = OnceLock::new();

/// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`, which name another process where a wrapper was
/// started.
pub(super) fn take(start: &StartOfMain) {
    let limit = take_variable(start, "WATCHDOG_USEC")
        .and_then(|usec| parse(&usec))
        .filter(|&usec: &u64| usec > 0);
    let pid = take_variable(start, "WATCHDOG_PID").map(|pid| parse::<pid_t>(&pid));
    let ours = is_init() || pid.is_none_or(|pid| pid == Some(getpid().as_raw()));
    if let Some(usec) = limit.filter(|_| ours) {
        _ = LIMIT.set(Duration::from_micros(usec));
    }
}

/// The manager's watchdog, see [`watchdog`].
#[derive(Clone, Copy, Debug)]
pub struct Watchdog(());

/// The watchdog of the manager that runs this service, if it has one (`WatchdogSec=` of a systemd
/// unit): a service that does not [`Watchdog::ping`] in time is killed and started again.
pub fn watchdog() -> Watchdog {
    Watchdog(())
}

impl Watchdog {
    /// How often to ping: half the time after which the manager gives the service up, as
    /// sd_watchdog_enabled(3) recommends. `None` where there is no watchdog.
    pub fn interval(self) -> Option<Duration> {
        LIMIT.get().map(|&limit| limit / 2)
    }

    /// Tells the manager that the service is alive; does nothing where there is no watchdog.
    pub fn ping(self) {
        if LIMIT.get().is_some() {
            notifier().send("WATCHDOG=1");
        }
    }
}
