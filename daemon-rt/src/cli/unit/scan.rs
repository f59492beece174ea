//! s6 and runit: a service directory. As it is several files, what is printed is a shell script
//! that makes them.

use super::quote::{shell, shell_line};
use super::{Sheet, lines};

/// The descriptor on which s6 is told of readiness.
const NOTIFICATION_FD: u8 = 3;

pub(super) fn s6(sheet: &Sheet<'_>) -> String {
    let readiness = format!("export DAEMON_NOTIFY_FD={NOTIFICATION_FD}");
    let files = [
        file("notification-fd", &NOTIFICATION_FD.to_string()),
        script("run", &run(sheet, Some(readiness))),
        script("finish", &finish("exit 125")),
    ];
    archive(sheet, "s6", "/etc/s6/sv", &files)
}

/// runit has no notion of readiness.
pub(super) fn runit(sheet: &Sheet<'_>) -> String {
    archive(
        sheet,
        "runit",
        "/etc/sv",
        &[
            script("run", &run(sheet, None)),
            script("finish", &finish("sv down .")),
        ],
    )
}

fn run(sheet: &Sheet<'_>, readiness: Option<String>) -> String {
    let mut run = Vec::new();
    run.extend(
        sheet
            .runtime_directory()
            .map(|path| format!("mkdir -p {}", shell(path))),
    );
    run.extend(sheet.umask().map(|mask| format!("umask {mask}")));
    // What the settings say nothing of is for the logger, which has standard output.
    if sheet.stderr.is_none() {
        run.push("exec 2>&1".to_owned());
    }
    run.extend(
        sheet
            .stdout
            .as_deref()
            .map(|path| format!("exec >>{}", shell(path))),
    );
    run.extend(
        sheet
            .stderr
            .as_deref()
            .map(|path| format!("exec 2>>{}", shell(path))),
    );
    run.extend(readiness);
    // The service directory is no place to stay.
    run.push(format!(
        "cd {} || exit",
        shell(sheet.directory_outside_chroot())
    ));
    run.push(format!("exec {}", shell_line(&sheet.command("run"))));
    lines(run)
}

fn finish(stay_down: &str) -> String {
    lines([
        "# A wrong setting, another instance: it would only fail again.",
        "case $1 in",
        &format!("2 | 80) {stay_down} ;;"),
        "esac",
    ])
}

/// The commands that make the directory below the one that is named, or else the `usual` one.
fn archive(sheet: &Sheet<'_>, manager: &str, usual: &str, files: &[String]) -> String {
    let name = &sheet.name;
    lines([
        "#!/bin/sh",
        &format!("# Makes the service directory of {name}: {name} unit {manager} | sh -s {usual}"),
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
