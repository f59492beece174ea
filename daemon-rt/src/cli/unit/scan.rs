//! s6 and runit: a service directory.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{NO_RETRY, UnitInput, WHY_NO_RETRY, lines};
use super::quote::{shell, shell_line};
use super::resources;

/// The descriptor on which s6 is told of readiness.
const NOTIFICATION_FD: u8 = 3;

pub(super) fn s6(input: &UnitInput<'_>) -> ServiceFiles {
    let readiness = format!("export DAEMON_NOTIFY_FD={NOTIFICATION_FD}");
    let files = vec![
        ServiceFile::text(
            in_directory(input, "notification-fd"),
            format!("{NOTIFICATION_FD}\n"),
        ),
        script(input, "run", &run(input, Some(readiness))),
        script(input, "finish", &finish("exit 125")),
    ];
    ServiceFiles::new("/etc/s6/sv", files)
}

/// runit has no notion of readiness.
pub(super) fn runit(input: &UnitInput<'_>) -> ServiceFiles {
    let files = vec![
        script(input, "run", &run(input, None)),
        script(input, "finish", &finish("sv down .")),
    ];
    ServiceFiles::new("/etc/sv", files)
}

fn run(input: &UnitInput<'_>, readiness: Option<String>) -> String {
    let mut run = Vec::new();
    if let Some(directory) = input.runtime_directory() {
        run.push(format!("mkdir -p {}", shell(directory)));
    }
    if let Some(mask) = input.umask() {
        run.push(format!("umask {mask}"));
    }
    // A stream that is not set goes to the logger, which reads standard output.
    if input.stderr.is_none() {
        run.push("exec 2>&1".to_owned());
    }
    if let Some(path) = &input.stdout {
        run.push(format!("exec >>{}", shell(path)));
    }
    if let Some(path) = &input.stderr {
        run.push(format!("exec 2>>{}", shell(path)));
    }
    run.extend(readiness);
    // The service must not stay in the service directory.
    let directory = shell(input.directory_outside_chroot());
    run.push(format!("cd {directory} || exit"));
    let wrapper = resources::wrapper(input);
    let mut words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    words.extend(input.command("run"));
    run.push(format!("exec {}", shell_line(&words)));
    lines(run)
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

fn script(input: &UnitInput<'_>, name: &str, text: &str) -> ServiceFile {
    ServiceFile::script(in_directory(input, name), format!("#!/bin/sh\n{text}"))
}
