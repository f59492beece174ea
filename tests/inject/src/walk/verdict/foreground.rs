//! In the foreground there is no starter: the service serves, or it has said why not.

use std::thread::sleep;
use std::time::{Duration, Instant};

use daemon_harness::{Running, Started};

use super::{
    Case, Outcome, PROMPT, TOO_LONG, Violations, check, ended, good, managed, nobody_left,
    nothing_left, reached, says_why,
};
use crate::walk::manager::Manager;
use crate::walk::services::full::IN_MAIN;
use crate::walk::strike::Role;

/// Waits until the service is in its main loop or has ended, and looks at it; then it is ended.
pub(super) fn judge(
    case: &Case<'_>,
    manager: Manager,
    running: Running<'_>,
) -> Result<Outcome, String> {
    let deadline = Instant::now() + PROMPT;
    let serves = || running.stderr().contains(IN_MAIN);
    while running.is_running() && !serves() && Instant::now() < deadline {
        sleep(Duration::from_millis(1));
    }
    let serves = running.is_running() && serves();
    let found = if serves { good(case) } else { Ok(()) };
    if running.is_running() {
        running.signal(if case.is_deaf() {
            libc::SIGKILL
        } else {
            libc::SIGTERM
        });
    }
    let started = ended(running)?;
    let judged = || {
        found?;
        managed::told(case, serves, &started, &manager.heard())?;
        if serves {
            stopped(case, &started)
        } else {
            refused(case, &started)
        }?;
        if case.killed(Role::Daemon) {
            Ok(Outcome::Killed)
        } else {
            reached(case, serves)
        }
    };
    judged().map_err(|problem| format!("{problem}\n{started:#?}"))
}

/// It has ended as it was told to.
fn stopped(case: &Case<'_>, started: &Started) -> Violations {
    check(started.status.success() || case.is_deaf(), || {
        "it does not end well".to_owned()
    })?;
    nobody_left(case)
}

fn refused(case: &Case<'_>, started: &Started) -> Violations {
    check(!started.status.success(), || {
        "status 0, but it has not served".to_owned()
    })?;
    check(started.elapsed < PROMPT, || TOO_LONG.to_owned())?;
    if case.killed(Role::Daemon) {
        return nobody_left(case);
    }
    says_why(case, started)?;
    // As the user as whom it runs it cannot remove what root has made.
    let dropped = case
        .seen
        .calls
        .iter()
        .any(|call| call.number == libc::SYS_setresuid);
    if dropped {
        nobody_left(case)
    } else {
        nothing_left(case)
    }
}
