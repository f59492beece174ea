//! What strace says of the start: in what order things are done, and what comes of it when
//! processes are held up, killed or interrupted on the way.

use std::fs;
use std::time::Duration;

use daemon_harness::{Proc, Scene, require};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::subject::{Start, Subject, holds_within, within};
use crate::table::Table;

/// What can complete a file. (`?`: not every architecture has it.)
const COMPLETING: &str = "write,writev,pwrite64,?rename,?renameat,renameat2,?link,linkat";

/// Identities and ends.
const CALLS: &str = "setgroups,setuid,setgid,setreuid,setregid,setresuid,setresgid,exit_group";

/// What a new process calls first, after a fork or an exec, in the C libraries.
const FIRST: &str = "set_robust_list,set_tid_address";

/// How long every process is held up there, and at setsid(2), in microseconds: a starter that waits
/// for nobody has long ended by then.
const HELD_UP: u32 = 200_000;
const HELD_UP_LONG: u32 = 1_000_000;

/// So many descriptors may be open: enough to tell who calls for each of them.
const DESCRIPTORS: libc::rlim_t = 8192;

/// strace is there, and may trace.
pub(crate) fn can_trace() -> Result<(), String> {
    require::tool("strace")?;
    let scene = Scene::new();
    let traced = scene
        .launch("/bin/true")
        .strace("trace", &["-e", "trace=exit_group"])
        .run();
    if traced.status.success() {
        Ok(())
    } else {
        Err(format!("strace cannot trace: {}", traced.stderr.trim()))
    }
}

/// What strace wrote.
fn trace(scene: &Scene) -> String {
    fs::read_to_string(scene.path("trace")).expect("what strace wrote")
}

/// This line is of this process.
fn is_of(line: &str, pid: i32) -> bool {
    line.split(' ').next() == Some(&pid.to_string())
}

pub(crate) fn look(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let (calls, held_up) = (
        format!("trace={FIRST},{CALLS},{COMPLETING}"),
        format!("inject={FIRST}:delay_enter={HELD_UP}"),
    );
    let launch = subject
        .launch(&scene)
        .strace("trace", &["-y", "-e", &calls, "-e", &held_up]);
    let start = subject.start(&scene, launch);
    let daemon = start.daemon();
    let trace = trace(&scene);
    let trace: Vec<&str> = trace.lines().collect();
    look_at_identity(daemon, &trace, table);
    look_at_waiting(&start, &trace, table);
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
        let is = move |line: &&str| {
            let called = |name| {
                line.contains(&format!(" {name}("))
                    || line.contains(&format!("<... {name} resumed>"))
            };
            names.iter().any(called) && line.ends_with("= 0")
        };
        (trace.iter().position(is), trace.iter().rposition(is))
    };
    let groups = done(&["setgroups"]);
    let group = done(&["setgid", "setregid", "setresgid"]);
    let user = done(&["setuid", "setreuid", "setresuid"]);
    match (groups.1, group.1, user.0) {
        (Some(groups), Some(group), Some(user)) if groups < user && group < user => {
            table.answer(
                "13o",
                true,
                "setgroups, setgid, setuid or their like, in this order",
            );
        }
        (None, _, Some(_)) => table.answer("13o", false, "setgroups is never called, or fails"),
        (_, _, None) => table.not_applicable("13o", "it does not change its user itself"),
        _ => table.answer("13o", false, "the user is changed first"),
    }
}

/// Where in the trace the starter ends.
fn end_of_starter(start: &Start, trace: &[&str]) -> Option<usize> {
    trace
        .iter()
        .position(|line| is_of(line, start.starter) && line.contains("exit_group("))
}

/// Whoever is told by the daemon that it is ready cannot have ended before the daemon ran at all.
fn look_at_waiting(start: &Start, trace: &[&str], table: &mut Table) {
    let pid = start.daemon().pid();
    let runs = trace
        .iter()
        .position(|line| is_of(line, pid) && !line.ends_with("<unfinished ...>"));
    let held_up = |at: &usize| trace[*at].ends_with("(DELAYED)") && pid != start.starter;
    match (runs.filter(held_up), end_of_starter(start, trace)) {
        (Some(runs), Some(end)) if runs < end => {
            table.answer("14", true, "the daemon runs, then the starter exits");
        }
        (Some(_), Some(_)) => table.answer(
            "14",
            false,
            "the starter exits, then the daemon begins to run",
        ),
        _ => table.not_applicable("14", "what the starter waits for could not be seen"),
    }
}

fn look_at_pidfile(subject: &Subject, start: &Start, trace: &[&str], table: &mut Table) {
    let path = subject.path();
    let (pid, name) = (
        start.daemon().pid().to_string(),
        path.file_name().unwrap_or_default().display().to_string(),
    );
    let written = format!("<{}>", path.display());
    let renamed = [format!("/{name}\""), format!("\"{name}\"")];
    let completes = |line: &&str| {
        line.contains("write") && line.contains(&written) && line.contains(&pid[..])
            || (line.contains("rename") || line.contains("link"))
                && renamed.iter().any(|name| line.contains(name))
    };
    match (
        trace.iter().position(completes),
        end_of_starter(start, trace),
    ) {
        (Some(complete), Some(end)) if complete < end => {
            table.answer("15", true, "the pid is written, then the starter exits");
        }
        (Some(_), Some(_)) => {
            table.answer("15", false, "the starter exits, then the pid is written");
        }
        _ if !subject.is_named(start.daemon()) => {
            table.answer("15", false, "nobody writes the pid");
        }
        _ => table.not_applicable("15", "how the pid comes into the file could not be seen"),
    }
}

/// The one moment of a start that all have in common: setsid(2), by which the new process leaves
/// the terminal.
pub(crate) fn look_when_killed(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let kill = [
        "-e",
        "trace=setsid",
        "-e",
        "inject=setsid:signal=KILL:when=1",
    ];
    let start = subject.run(subject.launch(&scene).strace("trace", &kill));
    if !trace(&scene).contains("setsid(") {
        return table.not_applicable("E01", "setsid is never called");
    }
    answer_killed(&scene, &start, "E01", table);
}

/// The other moment that many have in common.
pub(crate) fn look_when_killed_writing(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let path = subject.path().display().to_string();
    let (calls, kill) = (
        format!("trace={COMPLETING}"),
        format!("inject={COMPLETING}:signal=KILL"),
    );
    let start = subject.run(
        subject
            .launch(&scene)
            .strace("trace", &["-P", &path, "-e", &calls, "-e", &kill]),
    );
    // Who does it after the starter's end gets a moment.
    let writes = |trace: &str| {
        trace
            .lines()
            .find(|line| line.contains('('))
            .map(str::to_owned)
    };
    match within(subject.patience / 3, || writes(&trace(&scene))) {
        None => table.not_applicable("E01w", "nobody is seen to write it"),
        Some(line) if is_of(&line, start.starter) => {
            table.not_applicable("E01w", "it is the starter that writes it");
        }
        Some(_) => answer_killed(&scene, &start, "E01w", table),
    }
}

fn answer_killed(scene: &Scene, start: &Start, key: &'static str, table: &mut Table) {
    let alone = holds_within(Duration::from_secs(2), || scene.processes().is_empty());
    let left = if alone || start.status.is_none() {
        ""
    } else {
        ", and somebody is left"
    };
    table.answer(
        key,
        start.is_refused() && alone,
        format!("the starter: {}{left}", start.ended()),
    );
}

/// Ctrl-C, while the starter waits for a process that has left its process group and so does not
/// hear of it: what the starter ends with, and whether there is a daemon, must go together.
pub(crate) fn look_when_interrupted(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let inject = format!("inject=setsid:delay_exit={HELD_UP_LONG}:when=1");
    let running = subject
        .launch(&scene)
        .strace("trace", &["-e", "trace=setsid", "-e", &inject])
        .spawn();
    let starter = running.pid();
    let has_left = |process: &Proc| {
        process.pid() != starter
            && process
                .stat_if_there()
                .is_some_and(|stat| stat.session == stat.pid)
    };
    let held = || scene.processes().iter().any(has_left);
    holds_within(subject.patience, || held() || !running.is_running());
    // One that does not wait may still be about to end.
    let ends = holds_within(Duration::from_micros(HELD_UP.into()), || {
        !running.is_running()
    });
    if ends || !held() {
        return table.not_applicable(
            "E04",
            "the starter does not wait for a process of another session",
        );
    }
    let _ = killpg(Pid::from_raw(starter), Signal::SIGINT);
    let start = Start::of(running, subject.patience);
    let (good, words) = if start.says_ready() {
        let daemon = within(subject.patience / 3, || subject.find(&scene));
        (
            daemon.is_some(),
            if daemon.is_some() {
                "the daemon runs"
            } else {
                "no daemon runs"
            },
        )
    } else {
        let alone = holds_within(Duration::from_secs(3), || scene.processes().is_empty());
        (
            alone,
            if alone {
                "nobody is left"
            } else {
                "the daemon starts all the same"
            },
        )
    };
    table.answer(
        "E04",
        good && start.status.is_some(),
        format!("the starter: {}, {words}", start.ended()),
    );
}

/// Who closes all descriptors one by one needs minutes where the limit is a billion, as in many a
/// container.
pub(crate) fn look_at_calls(subject: &Subject, table: &mut Table) {
    let scene = Scene::new();
    let limit =
        getrlimit(Resource::RLIMIT_NOFILE).map_or(DESCRIPTORS, |limit| limit.1.min(DESCRIPTORS));
    let launch = subject
        .launch(&scene)
        .rlimit(Resource::RLIMIT_NOFILE, limit, limit);
    let start = subject.start(&scene, launch.strace("trace", &["-e", "trace=close,fcntl"]));
    start.daemon();
    let calls = trace(&scene).lines().count() as libc::rlim_t;
    table.answer(
        "E11",
        calls < limit / 2,
        format!("{calls} calls of close and fcntl, with a limit of {limit}"),
    );
}
