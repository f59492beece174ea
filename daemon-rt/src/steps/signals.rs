//! Steps 2 and 3: signal actions and the signal mask.

use nix::libc;

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys;

/// The signals by which a caller can tell its child to outlive it, as nohup(1) does. The starter,
/// which acts for the caller, goes on ignoring them; the daemon does not.
const CALLERS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The signals that the caller ignored and the starter goes on ignoring, a bit each.
#[derive(Clone, Copy)]
pub(crate) struct StillIgnored(u32);

impl StillIgnored {
    /// Checks whether the starter goes on ignoring a signal.
    pub(crate) fn contains(self, signal: libc::c_int) -> bool {
        self.0 & (1 << signal) != 0
    }

    /// Completes step 2 in the daemon.
    #[inline]
    pub(crate) fn reset(self) -> Result<(), Error> {
        for signal in CALLERS {
            if self.contains(signal) {
                reset(signal)?;
            }
        }
        Ok(())
    }
}

/// Puts every ignored signal back to its default action. Handlers do not survive exec(2): those
/// that there are belong to this program's own runtime, and stay. So does the ignored SIGPIPE,
/// which is Rust's doing.
pub(crate) fn reset_signals() -> Result<StillIgnored, Error> {
    let mut still = StillIgnored(0);
    for signal in 1..=sys::LAST_SIGNAL {
        // The other two cannot be ignored.
        if let libc::SIGPIPE | libc::SIGKILL | libc::SIGSTOP = signal {
            continue;
        }
        if !is_ignored(signal)? {
            continue;
        }
        if CALLERS.contains(&signal) {
            still.0 |= 1 << signal;
        } else {
            reset(signal)?;
        }
    }
    Ok(still)
}

fn is_ignored(signal: libc::c_int) -> Result<bool, Error> {
    sys::is_ignored(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
}

fn reset(signal: libc::c_int) -> Result<(), Error> {
    sys::reset(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
}

/// Lets every signal through.
#[inline]
pub(crate) fn unblock_signals() -> Result<(), Error> {
    sys::unblock_all().during(Step::UnblockSignals, "all signals")
}
