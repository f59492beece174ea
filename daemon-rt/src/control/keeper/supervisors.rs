//! Services that a supervisor runs as its child, by what the supervisor itself says of them.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use super::command;
use super::remedy::{Keeper, Remedy};
use crate::control::process::Process;
use crate::manager::supervisor;

/// Time limit for an answer of a supervisor.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn runit(service: Pid, runsv: Process) -> Option<Keeper> {
    let directory = runsv.directory()?;
    let runs_it = |directory: &Path| match std::fs::read_to_string(directory.join("supervise/pid"))
    {
        Ok(pid) => pid.trim() == service.to_string(),
        Err(_) => false,
    };
    let directory = [directory.join("log"), directory]
        .into_iter()
        .find(|directory| runs_it(directory))?;
    let name = directory.to_str()?;
    let remedy = Remedy::commands(
        &["sv", "-w", "180", "restart", name],
        &["sv", "-w", "180", "stop", name],
    );
    Some(Keeper::new("runit", name, remedy))
}

pub(super) fn s6(supervise: Process) -> Option<Keeper> {
    let directory = supervise.directory()?;
    let name = directory.to_str()?;
    let remedy = Remedy::commands(
        &["s6-svc", "-wr", "-T", "180000", "-r", name],
        &["s6-svc", "-d", name],
    );
    Some(Keeper::new("s6", name, remedy))
}

/// The program `svc` is the one beside the supervisor: other programs have that name, too.
pub(super) fn daemontools(supervise: Process) -> Option<Keeper> {
    let directory = supervise.directory()?;
    let svc = std::fs::read_link(format!("/proc/{}/exe", supervise.pid))
        .ok()?
        .with_file_name("svc");
    let (svc, name) = (svc.to_str()?, directory.to_str()?);
    let remedy = Remedy::commands(&[svc, "-t", name], &[svc, "-d", name]);
    Some(Keeper::new("daemontools", name, remedy))
}

pub(super) fn supervisord(service: Pid, supervisord: Pid) -> io::Result<Keeper> {
    let mut ctl = vec!["supervisorctl".to_owned()];
    if let Some(file) = configuration_of_supervisord(supervisord) {
        ctl.extend(["-c".to_owned(), file]);
    }
    let with = |words: &[&str]| -> Vec<String> {
        let words = words.iter().map(|&word| word.to_owned());
        ctl.iter().cloned().chain(words).collect()
    };
    // Its exit status is not 0 if any program is down.
    let answer = command::ask(&with(&["status"]), PATIENCE)?;
    // x:x_00   RUNNING   pid 7, uptime 0:00:03
    let mark = format!(" pid {service},");
    for line in answer.lines().filter(|line| line.contains(&mark)) {
        if let Some(name) = line.split_whitespace().next() {
            let remedy = Remedy::Commands {
                restart: with(&["restart", name]),
                stop: with(&["stop", name]),
            };
            return Ok(Keeper::new("supervisord", name, remedy));
        }
    }
    // A program that is STARTING is listed without its pid.
    let advice = "`supervisorctl status` does not show its pid, as it does when it is RUNNING: \
                  restart or stop it there";
    Ok(Keeper::new(
        "supervisord",
        format!("pid {supervisord}"),
        Remedy::ByHand(advice.to_owned()),
    ))
}

/// The file that `-c FILE` names, if the path is absolute. A relative one was meant in a directory
/// that supervisord may have left.
pub(crate) fn configuration_of_supervisord(process: Pid) -> Option<String> {
    let arguments = supervisor::arguments(process);
    let mut words = arguments
        .iter()
        .map_while(|word| std::str::from_utf8(word).ok());
    while let Some(word) = words.next() {
        let file = match word {
            "-c" | "--configuration" => words.next(),
            _ => word.strip_prefix("--configuration="),
        };
        if let Some(file) = file {
            return if file.starts_with('/') {
                Some(file.to_owned())
            } else {
                None
            };
        }
    }
    None
}

pub(super) fn dinit(service: Pid) -> io::Result<Keeper> {
    let answer = command::ask(&["dinitctl", "list"].map(str::to_owned), PATIENCE)?;
    // [{+}     ] x (pid: 7)
    let mark = format!(" (pid: {service})");
    for line in answer.lines() {
        let Some((before, _)) = line.split_once(&mark) else {
            continue;
        };
        if let Some((_, name)) = before.rsplit_once("] ") {
            let remedy =
                Remedy::commands(&["dinitctl", "restart", name], &["dinitctl", "stop", name]);
            return Ok(Keeper::new("dinit", name, remedy));
        }
    }
    let advice = "`dinitctl list` does not list it: restart or stop it there";
    Ok(Keeper::new(
        "dinit",
        format!("pid {service}"),
        Remedy::ByHand(advice.to_owned()),
    ))
}
