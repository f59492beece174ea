//! The daemon's progress, shown to the person who waits.

use std::io::{self, IsTerminal};

use crate::report::notify::notifier;
use crate::report::{log, text};

/// Shows progress: in one line of a terminal, which the next text overwrites, else a line each.
#[derive(Default)]
pub(super) struct Progress {
    /// A line stands on the terminal.
    shown: bool,
}

impl Progress {
    pub(super) fn show(&mut self, text: &str) {
        notifier().progress(text);
        let (name, text) = (log::name(), text.replace(text::is_unprintable, " "));
        if io::stderr().is_terminal() {
            self.shown = true;
            log::write_at_once(&format!("\r\x1b[K{name}: {text}"));
        } else {
            log::write_at_once(&format!("{name}: {text}\n"));
        }
    }

    /// Clears the line.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            log::write_at_once("\r\x1b[K");
        }
    }
}
