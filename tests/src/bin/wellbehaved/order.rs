//! What strace says of the start: in what order things are done, and what comes of a process that is killed on the way.

use std::{fs, time::Duration};

use daemon_tests::{Proc, Scene, require};

use crate::{
    subject::{Start, Subject, holds_within},
    table::Table,
};

/// Processes, identities, and what can complete a file. (`?`: not every architecture has it.)
const CALLS: &str = "trace=setgroups,setuid,setgid,setreuid,setregid,setresuid,setresgid,write,writev,pwrite64,\
                     ?rename,?renameat,renameat2,exit_group";

pub(crate) fn look(subject: &Subject, table: &mut Table) {
    if let Err(reason) = require::tool("strace") {
        for key in ["13o", "15"] {
            table.not_applicable(key, &reason);
        }
        return;
    }
    let scene = Scene::new();
    let start = subject.start(&scene, subject.launch(&scene).strace("trace", &["-y", "-e", CALLS]));
    let trace = fs::read_to_string(scene.path("trace")).expect("what strace wrote");
    let trace: Vec<&str> = trace.lines().collect();
    let daemon = start.daemon();
    look_at_identity(daemon, &trace, table);
    if subject.pidfile().is_some() {
        look_at_pidfile(subject, &start, &trace, table);
    } else {
        table.not_applicable("15", "no pidfile was named");
    }
}

fn look_at_identity(daemon: &Proc, trace: &[&str], table: &mut Table) {
    if daemon.status().euid == 0 {
        return table.not_applicable("13o", "it stays root");
    }
    let done = |names: &'static [&str]| {
        let is = move |line: &&str| names.iter().any(|name| line.contains(name)) && line.ends_with("= 0");
        (trace.iter().position(is), trace.iter().rposition(is))
    };
    let groups = done(&["setgroups("]);
    let group = done(&["setgid(", "setregid(", "setresgid("]);
    let user = done(&["setuid(", "setreuid(", "setresuid("]);
    match (groups.1, group.1, user.0) {
        (Some(groups), Some(group), Some(user)) if groups < user && group < user => {
            table.answer("13o", true, "setgroups, setgid, setuid or their like, in this order");
        }
        (None, _, Some(_)) => table.answer("13o", false, "setgroups is never called, or fails"),
        (_, _, None) => table.not_applicable("13o", "it does not change its user itself"),
        _ => table.answer("13o", false, "the user is changed first"),
    }
}

fn look_at_pidfile(subject: &Subject, start: &Start, trace: &[&str], table: &mut Table) {
    let (pid, path) = (start.daemon().pid().to_string(), subject.path().display().to_string());
    let completes = |line: &&str| {
        line.contains("write") && line.contains(&format!("<{path}>")) && line.contains(&pid[..])
            || line.contains("rename") && line.contains(&format!("{path}\""))
    };
    let starter = start.starter.to_string();
    let ends = |line: &&str| line.split(' ').next() == Some(&starter) && line.contains("exit_group(");
    let (complete, end) = (trace.iter().position(completes), trace.iter().position(ends));
    match (complete, end) {
        (Some(complete), Some(end)) if complete < end => {
            table.answer("15", true, "the pid is written, then the starter exits");
        }
        (Some(_), Some(_)) => table.answer("15", false, "the starter exits, then the pid is written"),
        _ => table.answer("15", false, "nobody is seen to write the pid"),
    }
}

/// The one moment of a start that all have in common: setsid(2), by which the new process leaves the terminal.
pub(crate) fn look_when_killed(subject: &Subject, table: &mut Table) {
    if let Err(reason) = require::tool("strace") {
        return table.not_applicable("E01", reason);
    }
    let scene = Scene::new();
    let kill = ["-e", "trace=setsid", "-e", "inject=setsid:signal=KILL:when=1"];
    let start = Start::of(subject.launch(&scene).strace("trace", &kill).spawn());
    if !fs::read_to_string(scene.path("trace")).is_ok_and(|trace| trace.contains("setsid(")) {
        return table.not_applicable("E01", "setsid is never called");
    }
    let alone = holds_within(Duration::from_secs(2), || scene.processes().is_empty());
    let left = if alone { "" } else { ", and somebody is left" };
    table.answer("E01", start.is_refused() && alone, format!("the starter: {}{left}", start.ended()));
}
