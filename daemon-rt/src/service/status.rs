//! `status`: the activity of the service, in its own words.

use crate::report;
use crate::steps::pidfile;

/// Reports what the service is doing, in a few words.
///
/// Before the service is ready, the text is shown on the terminal of the person who started it: in
/// one line that is rewritten, or a line each if standard error is not a terminal. Control
/// characters become spaces, and a text is cut at 500 bytes. A manager gets it at any time
/// (`STATUS=`), and before readiness waits for another 30 seconds (`EXTEND_TIMEOUT_USEC=`). The
/// call never blocks: a terminal that is stopped misses the text.
///
/// ```
/// for done in (0..=100).step_by(50) {
///     daemon_rt::status(&format!("index: {done} %"));
/// }
/// ```
pub fn status(text: &str) {
    pidfile::warn_if_lost();
    report::status(text);
}
