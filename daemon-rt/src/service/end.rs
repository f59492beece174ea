//! The end by a signal that the service has not asked for, and by a failure: the pidfile goes first.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::requests;
use crate::report::log;
use crate::steps::pidfile;
use crate::sys::{self, SingleThreaded};

/// How long the last words may take: a thread that hangs may hold a standard stream.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says why this process ends, if that is not known yet, and ends it.
pub(crate) fn with_last_words(status: u8, words: Option<&str>) -> ! {
    let end_soon = move || {
        thread::sleep(PATIENCE);
        end(status);
    };
    if SingleThreaded::now().is_some() || thread::Builder::new().spawn(end_soon).is_ok() {
        if let Some(words) = words {
            log::error(words);
        }
        log::flush();
    }
    end(status)
}

fn end(status: u8) -> ! {
    pidfile::remove();
    sys::exit_now(status)
}

/// The signals that end a process that does not handle them, and are not faults of the process.
const SIGNALS: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Has the pidfile removed when one of these signals ends this process. Those that `configure` has
/// handled are left alone.
pub(crate) fn handle_signals() -> nix::Result<()> {
    for signal in SIGNALS {
        if sys::is_default(signal) {
            sys::handle(signal, on_signal)?;
        }
    }
    Ok(())
}

/// Whether this signal, if it is not blocked, would end this process.
pub(crate) fn ends_by(signal: libc::c_int) -> bool {
    sys::is_default(signal) || sys::is_handled_by(signal, on_signal)
}

/// Ends this process as a signal does that is not handled. Calls only what signal-safety(7) allows.
pub(super) fn die_of(signal: libc::c_int) {
    pidfile::remove();
    sys::die_of(signal);
}

/// The handler of a signal that the service has not asked for. Calls only what signal-safety(7)
/// allows.
///
/// A handler that replaces it may call it all the same, as signal-hook does with every handler that
/// it finds (and tokio with it). Then it is for that handler to end the process or not, and the
/// pidfile goes at exit.
pub(super) extern "C" fn on_signal(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let is_last = sys::is_handled_by(signal, on_signal);
    // A program that has put back the earlier handlers may have removed those that note requests.
    // A SIGHUP that another handler passes on may have been noted: twice, it would be two reloads.
    let noted = (is_last || signal != libc::SIGHUP) && requests::note(signal);
    if is_last && !noted {
        die_of(signal);
    }
    Errno::set_raw(errno);
}
