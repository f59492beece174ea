//! supervisord: a `[program]` section for its conf.d directory.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{NO_RETRY, UnitInput, WHY_NO_RETRY, lines, refuse};
use super::prepare;
use super::quote::{shell, shell_line, supervisord_line, supervisord_value};
use super::resources;
use crate::error::Error;

pub(super) fn program(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    let wrapper = resources::wrapper(input);
    let mut words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    words.extend(input.command("run"));
    let mut directory = input.directory_outside_chroot();
    let mut prepare = prepare::in_shell(input);
    let line = if prepare.is_empty() {
        supervisord_line(&words)
    } else {
        // It may not be there yet.
        prepare.push(format!("cd {} || exit", shell(directory)));
        directory = "/";
        prepare.push(format!("exec {}", shell_line(&words)));
        supervisord_line(&["/bin/sh", "-c", &prepare.join("; ")])
    };
    let mut program = input.comments("; ");
    program.extend(log_directories(input));
    program.extend([
        format!("[program:{}]", input.name),
        format!("command = {line}"),
        format!("directory = {}", value(directory)?),
    ]);
    if let Some(mask) = input.umask() {
        program.push(format!("umask = {mask}"));
    }
    program.push("autorestart = unexpected".to_owned());
    program.push(format!("; {WHY_NO_RETRY}"));
    let statuses = NO_RETRY.map(|status| status.to_string()).join(",");
    program.push(format!("exitcodes = 0,{statuses}"));
    if let Some(seconds) = input.kill_after() {
        program.push(format!("stopwaitsecs = {seconds}"));
    }
    if let Some(path) = &input.stdout {
        program.push(format!("stdout_logfile = {}", value(path)?));
        program.extend(bounds(input, "stdout"));
    }
    if input.stderr == input.stdout {
        program.push("redirect_stderr = true".to_owned());
    } else if let Some(path) = &input.stderr {
        program.push(format!("stderr_logfile = {}", value(path)?));
        program.extend(bounds(input, "stderr"));
    }
    let file = ServiceFile::text(format!("{}.conf", input.name), lines(program));
    Ok(ServiceFiles::new("/etc/supervisor/conf.d", vec![file]))
}

/// The size after which supervisord rotates a log, and how many it keeps.
fn bounds(input: &UnitInput<'_>, stream: &str) -> Vec<String> {
    match input.daemon.log_size {
        Some(bytes) => vec![
            format!("{stream}_logfile_maxbytes = {bytes}"),
            format!("{stream}_logfile_backups = {}", input.daemon.logs_kept()),
        ],
        None => Vec::new(),
    }
}

/// supervisord itself does not start where a log has no directory.
fn log_directories(input: &UnitInput<'_>) -> Vec<String> {
    let mut comments = Vec::new();
    for (directory, _) in prepare::directories(input) {
        if prepare::has_log(input, &directory) {
            comments.push(format!("; {} must be there.", directory.display()));
        }
    }
    comments
}

fn value(text: &str) -> Result<String, Error> {
    let comments = [" ;", " #", "\u{a0};", "\u{a0}#"];
    if comments.iter().any(|comment| text.contains(comment)) {
        let problem = "a supervisord file cannot hold a path with a space before ';' or '#'";
        return Err(refuse(text, problem));
    }
    Ok(supervisord_value(text))
}
