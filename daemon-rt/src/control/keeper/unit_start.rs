//! The word `start` on the command line of a unit.

use std::time::Duration;

use nix::syslog::Severity;
use nix::unistd::getpid;

use super::systemd::{PATIENCE, Properties, Unit};
use crate::daemon::Mode;
use crate::report::log;

/// Decides whether a typed `start` detaches where only systemd's `SYSTEMD_EXEC_PID` speaks against
/// it. That variable is set whether systemd waits for this process to end, as `Type=forking` does,
/// or takes it for the service; systemd itself tells which.
///
/// Where it stays in the foreground although that is hardly what was meant, a line says so.
pub(crate) fn mode() -> Mode {
    let Some(unit) = Unit::of(getpid()) else {
        return Mode::Foreground;
    };
    let problem = match unit.properties(PATIENCE) {
        Ok(properties) => match meant(&properties) {
            Ok(mode) => return mode,
            Err(problem) => problem.to_owned(),
        },
        Err(error) => format!("the type of {} is not known ({error})", unit.name),
    };
    warn(&problem);
    Mode::Foreground
}

/// Warns of a start that names no command, stays in the foreground, and is waited for by systemd. A
/// service that systemd takes for one is not warned, nor held up for long where systemd does not
/// answer.
pub(crate) fn check_bare() {
    const PATIENCE: Duration = Duration::from_secs(1);
    let Some(unit) = Unit::of(getpid()) else {
        return;
    };
    let Ok(properties) = unit.properties(PATIENCE) else {
        return;
    };
    match meant(&properties) {
        Ok(Mode::Detach) => warn(&format!(
            "it waits for this process to end (Type={}): Type=notify fits; to detach, set DAEMON_MODE=detach",
            properties.kind
        )),
        Err(problem) => warn(problem),
        Ok(_) => {}
    }
}

fn warn(problem: &str) {
    let text = format!("staying in the foreground under systemd: {problem}");
    log::print(Severity::LOG_WARNING, &text);
}

fn meant(unit: &Properties) -> Result<Mode, &'static str> {
    let this = Some(getpid());
    if unit.control_pid == this {
        return match unit.state.as_str() {
            "start-pre" | "condition" => {
                Err("a process that ExecStartPre= leaves behind is killed before ExecStart= runs")
            }
            _ => Ok(Mode::Detach),
        };
    }
    match unit.kind.as_str() {
        "oneshot" if unit.main_pid == this && unit.remains_after_exit => Ok(Mode::Detach),
        "oneshot" => Err(
            "a process that Type=oneshot leaves behind is killed, unless RemainAfterExit=yes is set; Type=notify fits",
        ),
        _ => Ok(Mode::Foreground),
    }
}
