//! s6, s6-rc and runit: a service directory.

use std::fmt::Display;

use super::file::{ServiceFile, ServiceFiles};
use super::input::{NO_RETRY, UnitInput, WHY_NO_RETRY, lines};
use super::run;

/// The descriptor on which s6 is told of readiness.
const NOTIFICATION_FD: u8 = 3;

pub(super) fn s6(input: &UnitInput<'_>) -> ServiceFiles {
    ServiceFiles::new("/etc/s6/sv", of_s6(input))
}

/// A source definition directory.
pub(super) fn s6_rc(input: &UnitInput<'_>) -> ServiceFiles {
    let mut files = of_s6(input);
    files.insert(0, value(input, "type", "longrun"));
    if let Some(limit) = input.daemon.start_timeout {
        files.push(value(input, "timeout-up", limit.as_millis()));
    }
    ServiceFiles::new("/etc/s6-rc/source", files)
}

fn of_s6(input: &UnitInput<'_>) -> Vec<ServiceFile> {
    let mut first = errors_to_logger(input);
    first.push(format!("export DAEMON_NOTIFY_FD={NOTIFICATION_FD}"));
    let mut files = vec![
        value(input, "notification-fd", NOTIFICATION_FD),
        script(input, "run", &lines(run::script(input, first))),
        script(input, "finish", &finish("exit 125")),
    ];
    if let Some(seconds) = input.kill_after() {
        files.push(value(input, "timeout-kill", seconds.saturating_mul(1000)));
    }
    files
}

/// runit has no notion of readiness.
pub(super) fn runit(input: &UnitInput<'_>) -> ServiceFiles {
    let run = lines(run::script(input, errors_to_logger(input)));
    let files = vec![
        script(input, "run", &run),
        script(input, "finish", &finish("sv down .")),
    ];
    ServiceFiles::new("/etc/sv", files)
}

/// A stream that is not set goes to the logger, which reads standard output.
fn errors_to_logger(input: &UnitInput<'_>) -> Vec<String> {
    match input.stderr {
        Some(_) => Vec::new(),
        None => vec!["exec 2>&1".to_owned()],
    }
}

fn finish(stay_down: &str) -> String {
    let statuses = NO_RETRY.map(|status| status.to_string()).join(" | ");
    lines([
        &format!("# {WHY_NO_RETRY}"),
        "case $1 in",
        &format!("{statuses}) {stay_down} ;;"),
        "esac",
    ])
}

fn in_directory(input: &UnitInput<'_>, name: &str) -> String {
    format!("{}/{name}", input.name)
}

fn value(input: &UnitInput<'_>, name: &str, value: impl Display) -> ServiceFile {
    ServiceFile::text(in_directory(input, name), format!("{value}\n"))
}

fn script(input: &UnitInput<'_>, name: &str, text: &str) -> ServiceFile {
    ServiceFile::script(in_directory(input, name), format!("#!/bin/sh\n{text}"))
}
