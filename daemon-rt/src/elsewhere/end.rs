//! The end by a failure.

use crate::report::log;
use crate::sys;

/// Says why this process ends, and ends it.
pub(crate) fn with_last_words(status: u8, words: Option<&str>) -> ! {
    if let Some(words) = words {
        log::error(words);
    }
    sys::exit_now(status)
}
