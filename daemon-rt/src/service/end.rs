//! The end by a signal that the service has not asked for: the pidfile goes first.

use nix::errno::Errno;
use nix::libc;

use super::requests;
use crate::steps::pidfile;
use crate::sys;

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
