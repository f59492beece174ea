//! The budget by counts, which are the same on every machine: the system calls of starter, intermediate process and
//! daemon, by what made them.
//!
//! `counts PROGRAM…`, called by `bench/counts`; the first one is the floor. The programs are built without
//! optimization, which changes no system call but keeps the names of all functions for `strace -k`.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use daemon_bench::PLACE;

/// Which function, in whose frames, stands for which step: the first one found in a stack counts.
const STEPS: [(&str, &str); 24] = [
    ("close_descriptors", "1 close descriptors"),
    ("reset_signals", "2 reset signals"),
    ("unblock_signals", "3 reset the mask"),
    ("clean_environment", "4 clean the environment"),
    ("setsid", "6 new session"),
    ("join_new_keyring", "6 new session keyring"),
    ("surroundings::open_null", "9 the standard streams"),
    ("surroundings::connect_streams", "9 the standard streams"),
    ("set_umask", "10 umask"),
    ("change_directory", "11 working directory"),
    ("pidfile::probe", "12 pidfile: is it running already?"),
    ("pidfile::lock", "12 pidfile: create and lock"),
    ("pidfile::write", "12 pidfile: write"),
    ("pidfile::verify", "12 pidfile: verify before readiness"),
    ("accounts::look_up", "13 look the user up"),
    ("privileges::drop", "13 drop privileges"),
    ("audience::", "14 tell the starter"),
    ("handshake::channel", "14 tell the starter"),
    ("starter::Starter", "15 the starter waits"),
    ("manager::", "is there a service manager?"),
    ("SingleThreaded::check", "is there one thread?"),
    ("sys::fork", "5, 7 fork"),
    ("ForkResult", "5, 7 fork"),
    ("daemon_rt::", "the rest of this library"),
];
const START: &str = "ld.so, std's start, main, exit";

fn main() {
    fs::create_dir(PLACE).expect("only root can run this, and only once at a time");
    let programs: Vec<String> = env::args().skip(1).collect();
    let counts: Vec<_> = programs.iter().map(|program| count(program)).collect();
    _ = fs::remove_dir_all(PLACE);

    let mut steps: Vec<&str> = counts.iter().flat_map(BTreeMap::keys).copied().collect();
    steps.sort_unstable_by_key(|step| {
        (step.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(99), *step)
    });
    steps.dedup();
    let names = programs.iter().map(|program| program.rsplit('/').next().unwrap_or(program));
    println!("| system calls | {} |", names.collect::<Vec<_>>().join(" | "));
    println!("| --- |{}", " --: |".repeat(programs.len()));
    let print = |step: &str, count: &dyn Fn(&BTreeMap<&str, usize>) -> usize| {
        let counts = counts.iter().map(|counts| count(counts).to_string());
        println!("| {step} | {} |", counts.collect::<Vec<_>>().join(" | "));
    };
    for step in steps {
        print(step, &|counts| counts.get(step).copied().unwrap_or(0));
    }
    print("all", &|counts| counts.values().sum());
}

/// Traces one start and ends its daemon.
fn count(program: &str) -> BTreeMap<&'static str, usize> {
    let log = format!("{PLACE}/trace");
    let tracer = Command::new("strace")
        .args(["-f", "-k", "-qq", "-o", &log, program])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed");
    let log = wait_for_pause(tracer, &log);
    let mut counts = BTreeMap::new();
    // A line for each call, and `" > program(function+0x1) [0x2]"` for each frame of its stack. A call that another
    // process interrupts has two lines, the second with the stack.
    for call in log.split('\n').fold(Vec::<(&str, Vec<&str>)>::new(), gather) {
        let (line, frames) = call;
        if line.contains("<unfinished ...>") || line.contains("pause(") || line.contains("+++") || line.contains("---")
        {
            continue;
        }
        // The innermost frame that says which step it is.
        let found = STEPS.iter().find(|(name, _)| frames.iter().any(|frame| frame.contains(name)));
        *counts.entry(found.map_or(START, |(_, step)| step)).or_default() += 1;
    }
    counts
}

fn gather<'a>(mut calls: Vec<(&'a str, Vec<&'a str>)>, line: &'a str) -> Vec<(&'a str, Vec<&'a str>)> {
    match (line.starts_with(" > "), calls.last_mut()) {
        (true, Some((_, frames))) => frames.push(line),
        (false, _) if !line.is_empty() => calls.push((line, Vec::new())),
        _ => {}
    }
    calls
}

/// Waits until the daemon is at its main loop, which is pause(2), and ends it. strace ends with it.
fn wait_for_pause(mut tracer: Child, path: &str) -> String {
    for _ in 0..600 {
        thread::sleep(Duration::from_millis(100));
        let log = fs::read_to_string(path).unwrap_or_default();
        let Some(pause) = log.lines().find(|line| line.contains(" pause(")) else { continue };
        // The starter may still be on its way out.
        thread::sleep(Duration::from_secs(1));
        let daemon = pause.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("strace -f names it");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), nix::sys::signal::Signal::SIGKILL).expect("it runs");
        tracer.wait().expect("it is a child");
        return fs::read_to_string(path).expect("it was just there");
    }
    _ = tracer.kill();
    panic!("no daemon");
}
