//! Steps 2 and 3: signal actions and the signal mask.

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys;

/// The signals by which a caller may tell its child to outlive it, as nohup(1) does. The starter,
/// which acts for the caller, goes on ignoring them; the daemon does not.
const CALLERS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Which of the signals that the caller ignored the starter goes on ignoring.
#[derive(Clone, Copy, Default)]
pub(crate) struct StillIgnored([bool; CALLERS.len()]);

impl StillIgnored {
    pub(crate) fn contains(self, signal: libc::c_int) -> bool {
        CALLERS
            .iter()
            .zip(self.0)
            .any(|(&ignored, still)| still && ignored == signal)
    }

    /// Completes step 2 in the daemon.
    #[inline]
    pub(crate) fn reset(self) -> Result<(), Error> {
        CALLERS
            .into_iter()
            .filter(|&signal| self.contains(signal))
            .try_for_each(reset)
    }
}

/// Puts every signal that is ignored back to its default. Handlers do not survive exec, so there
/// are none but those that this program's own runtime has installed, and they stay; so does the
/// ignored SIGPIPE, which is Rust's doing.
pub(crate) fn reset_signals() -> Result<StillIgnored, Error> {
    let is_ignored = |signal| {
        sys::is_ignored(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
    };
    let mut still = StillIgnored::default();
    for (still, signal) in still.0.iter_mut().zip(CALLERS) {
        *still = is_ignored(signal)?;
    }
    for signal in 1..=sys::LAST_SIGNAL {
        if signal != libc::SIGPIPE && !CALLERS.contains(&signal) && is_ignored(signal)? {
            reset(signal)?;
        }
    }
    Ok(still)
}

fn reset(signal: libc::c_int) -> Result<(), Error> {
    sys::reset(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
}

/// Lets every signal through.
#[inline]
pub(crate) fn unblock_signals() -> Result<(), Error> {
    // nix's `thread_set_mask` never fails: pthread_sigmask(3) returns its error number, not -1.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .during(Step::UnblockSignals, "all signals")
}
