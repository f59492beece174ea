//! `Ready`: for a main loop that says itself when the service is ready.

use std::time::Duration;

use super::announce::announce;
use super::run;
use crate::report;

/// Announces readiness where the main loop does so itself (`defer_ready`): a server may be up only
/// inside its asynchronous runtime.
///
/// Dropping it without [`Ready::notify`] is a failed start.
#[derive(Debug)]
#[must_use = "the service is ready only when `notify` is called"]
pub struct Ready(Listener);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// The starter or the manager.
    Caller,
    Nobody,
}

impl Ready {
    /// Readiness is up to the holder.
    pub(crate) fn awaited() -> Self {
        Self(Listener::Caller)
    }

    /// One that tells nobody, for a test that calls the main loop in its own process.
    ///
    /// ```
    /// use daemon_rt::{Ready, shutdown};
    ///
    /// fn serve(ready: Ready) -> usize {
    ///     // … bind and connect, then:
    ///     ready.notify();
    ///     shutdown().wait();
    ///     0
    /// }
    ///
    /// shutdown().request();
    /// assert_eq!(serve(Ready::detached()), 0);
    /// ```
    pub fn detached() -> Self {
        Self(Listener::Nobody)
    }

    /// The service is ready: the starter exits with status 0, or the manager is told (step 14 of
    /// daemon(7)).
    ///
    /// If that cannot be done, because the pidfile was removed meanwhile for instance, the start
    /// has failed and this process ends.
    ///
    /// ```no_run
    /// use daemon_rt::{Ready, daemon, shutdown};
    ///
    /// #[daemon(pidfile, defer_ready)]
    /// fn main(ready: Ready) {
    ///     // … bind and connect, then:
    ///     ready.notify();
    ///     shutdown().wait();
    /// }
    /// ```
    pub fn notify(self) {
        let listener = self.0;
        std::mem::forget(self);
        if listener == Listener::Nobody {
            return;
        }
        if let Err(error) = announce() {
            run::fail(error.into());
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // An error that `main` is about to return, or a panic, says more; a main loop that just
        // goes on does not.
        const GRACE: Duration = Duration::from_secs(1);
        if self.0 == Listener::Nobody {
            return;
        }
        let fail = || {
            run::fail(run::failed(
                "main",
                "it dropped `Ready` without calling `notify`",
            ))
        };
        let late = move || {
            std::thread::sleep(GRACE);
            if report::is_starting() {
                fail();
            }
        };
        if std::thread::Builder::new().spawn(late).is_err() {
            fail();
        }
    }
}
