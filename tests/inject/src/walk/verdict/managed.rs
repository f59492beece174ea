//! What a manager hears of a start is true.

use daemon_harness::Started;

use super::{Case, Violations, check, is_aborted, only_process};
use crate::walk::manager::Heard;
use crate::walk::scenarios::Scenario;
use crate::walk::strike::Role;

/// Readiness is told once and in both ways where the service is ready, and else never; then the
/// exit status is told. What could not be said was warned of.
pub(super) fn told(
    case: &Case<'_>,
    is_ready: bool,
    started: &Started,
    heard: &Heard,
) -> Violations {
    let killed = if case.scenario == Scenario::Foreground {
        Role::Daemon
    } else {
        Role::Starter
    };
    // An abort says nothing, either.
    if case.killed(killed) || is_aborted(started) {
        return Ok(());
    }
    let told = if is_ready {
        ready(case, started, heard)
    } else {
        refused(case, started, heard)
    };
    told.map_err(|problem| format!("{problem}, {heard:?}"))
}

fn ready(case: &Case<'_>, started: &Started, heard: &Heard) -> Violations {
    let expected = match case.scenario {
        Scenario::Foreground => "READY=1".to_owned(),
        _ => format!("MAINPID={}\nREADY=1", only_process(case.scene)?.pid()),
    };
    let warned = |of: &str| {
        started
            .stderr
            .contains(&format!("cannot notify the manager: {of}"))
    };
    check(
        readiness(heard) == [&expected] || warned("NOTIFY_SOCKET"),
        || format!("it has not heard {expected:?}"),
    )?;
    check(heard.written == "\n" || warned("DAEMON_NOTIFY_FD"), || {
        "it has not got a newline".to_owned()
    })
}

fn refused(case: &Case<'_>, started: &Started, heard: &Heard) -> Violations {
    check(
        readiness(heard).is_empty() && heard.written.is_empty(),
        || "it has heard of readiness".to_owned(),
    )?;
    // Before the socket is connected it cannot be told.
    let connected = case
        .seen
        .calls
        .iter()
        .any(|call| call.number == libc::SYS_connect);
    let Some(code) = started.status.code().filter(|_| connected) else {
        return Ok(());
    };
    let status = format!("EXIT_STATUS={code}");
    let told = heard
        .messages
        .iter()
        .any(|message| message.lines().any(|line| line == status));
    check(told, || format!("it has not heard {status:?}"))
}

/// The messages that speak of readiness.
fn readiness(heard: &Heard) -> Vec<&String> {
    heard
        .messages
        .iter()
        .filter(|message| message.lines().any(|line| line == "READY=1"))
        .collect()
}
