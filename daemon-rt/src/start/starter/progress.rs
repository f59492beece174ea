//! The daemon's progress, shown to the person who waits.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::report::notify::notifier;
use crate::report::{log, text};

/// Where standard error leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stderr {
    Terminal,
    Other,
}

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
            write_at_once(&format!("\r\x1b[K{name}: {text}"), Stderr::Terminal);
        } else {
            write_at_once(&format!("{name}: {text}\n"), Stderr::Other);
        }
    }

    /// Clears the line.
    pub(super) fn clear(&mut self) {
        if self.shown {
            self.shown = false;
            write_at_once("\r\x1b[K", Stderr::Terminal);
        }
    }
}

/// Writes what standard error takes without waiting. A terminal that is stopped, or a pipe that no
/// process reads, misses it.
fn write_at_once(text: &str, kind: Stderr) {
    let stderr = io::stderr();
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let Ok(1..) = poll(&mut room, PollTimeout::ZERO) else {
        return;
    };
    if kind == Stderr::Terminal {
        // It may have room, but too little. Opened once more, it can be asked not to wait.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open("/dev/fd/2");
        if let Ok(mut terminal) = opened {
            _ = terminal.write(text.as_bytes());
            return;
        }
    }
    _ = stderr.lock().write_all(text.as_bytes());
}
