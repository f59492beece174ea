//! Whether what came of a launch is all right: what the caller says is true.

use daemon_harness::Started;

use super::{Case, Outcome, Violations, check, good, is_aborted, nobody_left, nothing_left};
use super::{only_process, reached, says_why, soon};
use crate::walk::strike::Role;

/// What came of it.
pub(super) fn outcome(case: &Case<'_>, started: &Started) -> Result<Outcome, String> {
    if case.killed(Role::Caller) {
        // The starter goes on without it.
        goes_on(case)?;
        return Ok(Outcome::Killed);
    }
    if started.status.success() {
        let pid = only_process(case.scene)?.pid();
        let said = started.stdout.trim();
        check(said == pid.to_string() || is_mute(case), || {
            format!("it says {said:?}, and the daemon is {pid}")
        })?;
        check(started.pipes_closed, || {
            "the daemon holds the caller's pipes".to_owned()
        })?;
        good(case)?;
    } else if case.killed(Role::Starter) {
        says_something(case, started)?;
        goes_on(case)?;
    } else if case.befell(Role::Caller) {
        says_something(case, started)?;
        // It may not be able to tell what has come of it, or to begin.
        soon(|| good(case).or_else(|_| nobody_left(case)))?;
    } else {
        nothing_left(case)?;
        says_why(case, started)?;
    }
    reached(case, started.status.success())
}

/// What has forked goes on by itself.
fn goes_on(case: &Case<'_>) -> Violations {
    if case.seen.forked {
        good(case)
    } else {
        soon(|| nobody_left(case))
    }
}

fn says_something(case: &Case<'_>, started: &Started) -> Violations {
    let said = is_aborted(started) || is_mute(case) || !started.stderr.trim().is_empty();
    check(said, || "no message".to_owned())
}

/// The caller cannot write.
fn is_mute(case: &Case<'_>) -> bool {
    case.befell(Role::Caller) && case.struck_at(&[libc::SYS_write])
}
