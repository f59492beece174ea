//! s6 and runit: a service directory. It is several files, so what is printed is a shell script
//! that creates them.

use super::input::{NO_RETRY, UnitInput, WHY_NO_RETRY, lines};
use super::quote::{shell, shell_line};
use super::resources;

/// The descriptor on which s6 is told of readiness.
const NOTIFICATION_FD: u8 = 3;

pub(super) fn s6(input: &UnitInput<'_>) -> String {
    let readiness = format!("export DAEMON_NOTIFY_FD={NOTIFICATION_FD}");
    let files = [
        file("notification-fd", &NOTIFICATION_FD.to_string()),
        script("run", &run(input, Some(readiness))),
        script("finish", &finish("exit 125")),
    ];
    archive(input, "s6", "/etc/s6/sv", &files)
}

/// runit has no notion of readiness.
pub(super) fn runit(input: &UnitInput<'_>) -> String {
    let files = [
        script("run", &run(input, None)),
        script("finish", &finish("sv down .")),
    ];
    archive(input, "runit", "/etc/sv", &files)
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

/// The commands that create the directory below the one that is named, or else the `usual` one.
fn archive(input: &UnitInput<'_>, manager: &str, usual: &str, files: &[String]) -> String {
    let name = &input.name;
    lines([
        "#!/bin/sh",
        &format!(
            "# Creates the service directory of {name}: {name} unit {manager} | sh -s {usual}"
        ),
        "set -e",
        &format!("mkdir -p \"${{1:-{usual}}}/{name}\""),
        &format!("cd \"${{1:-{usual}}}/{name}\""),
    ]) + &files.concat()
}

fn file(name: &str, text: &str) -> String {
    format!("echo {text} >{name}\n")
}

fn script(name: &str, text: &str) -> String {
    format!("cat >{name} <<'END'\n#!/bin/sh\n{text}END\nchmod 755 {name}\n")
}
