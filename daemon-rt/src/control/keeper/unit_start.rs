//! The word `start` on the command line of a unit.

use std::time::Duration;

use nix::syslog::Severity;
use nix::unistd::getpid;

use super::systemd::{Facts, Unit};
use crate::daemon::Mode;
use crate::report::{self, log};

/// Whether a typed `start` detaches where nothing but systemd's `SYSTEMD_EXEC_PID` speaks against
/// it. That variable is set for what waits for this process to end, as `Type=forking` does, and for
/// what takes it for the service; systemd itself tells them apart.
///
/// Where it stays in the foreground although that is hardly what was meant, a line says so.
pub(crate) fn mode() -> Mode {
    let Some(unit) = Unit::of(getpid()) else {
        return Mode::Foreground;
    };
    let problem = match unit.facts() {
        Ok(facts) => match meant(&facts) {
            Ok(mode) => return mode,
            Err(problem) => problem.to_owned(),
        },
        Err(error) => format!("it does not say what {} is ({error})", unit.name),
    };
    let text = format!("staying in the foreground under systemd: {problem}");
    log::say(Severity::LOG_WARNING, &report::name(), &text);
    Mode::Foreground
}

/// Says so where a start that names no command stays in the foreground, and systemd waits for it to
/// end. A service that systemd takes for what it is hears nothing, nor is it held up for long where
/// systemd does not answer.
pub(crate) fn check_bare() {
    const PATIENCE: Duration = Duration::from_secs(1);
    let Some(Ok(facts)) = Unit::of(getpid()).map(|unit| unit.facts_within(PATIENCE)) else {
        return;
    };
    let text = match meant(&facts) {
        Ok(Mode::Detach) => format!(
            "staying in the foreground under systemd, which waits for this process to end (Type={}): Type=notify fits; to detach, set DAEMON_MODE=detach",
            facts.kind
        ),
        Err(problem) => format!("staying in the foreground under systemd: {problem}"),
        Ok(_) => return,
    };
    log::say(Severity::LOG_WARNING, &report::name(), &text);
}

fn meant(facts: &Facts) -> Result<Mode, &'static str> {
    let this = Some(getpid());
    if facts.control_pid == this {
        return match facts.state.as_str() {
            "start-pre" | "condition" => {
                Err("what ExecStartPre= leaves behind is killed before ExecStart= runs")
            }
            _ => Ok(Mode::Detach),
        };
    }
    match facts.kind.as_str() {
        "oneshot" if facts.main_pid == this && facts.remains_after_exit => Ok(Mode::Detach),
        "oneshot" => Err(
            "what Type=oneshot leaves behind is killed, unless RemainAfterExit=yes is set; Type=notify fits",
        ),
        _ => Ok(Mode::Foreground),
    }
}
