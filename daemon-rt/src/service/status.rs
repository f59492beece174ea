//! `status`: what the service is doing, in its own words.

use crate::report;
use crate::steps::pidfile;

/// Says what the service is doing, in a few words.
///
/// Before the service is ready it is shown on the terminal of the person who started it: rewritten
/// in place there, a line each where standard error is no terminal. Control characters become
/// spaces, and of texts beyond 500 bytes the beginning is shown. A manager is told at any time
/// (`STATUS=`), and before readiness waits for another 30 seconds (`EXTEND_TIMEOUT_USEC=`). It
/// never blocks: a terminal that is stopped misses it.
pub fn status(text: &str) {
    pidfile::warn_if_lost();
    report::status(text);
}
