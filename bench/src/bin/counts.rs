//! The budget by counts, which are (nearly) the same on every machine: system calls, instructions
//! and page faults of starter, intermediate process and daemon together, the first two by what made
//! them.
//!
//! `counts UNOPTIMIZED OPTIMIZED PROGRAM…`, called by `bench/counts`, with the directories of the
//! two builds of the programs; the first program is the floor. Without optimization no system call
//! changes, but all functions keep their names for `strace -k`; what is inlined otherwise has none
//! for callgrind, and counts for its caller.
//!
//! `counts --budget FILE UNOPTIMIZED PROGRAM…` fails if a program makes more system calls above the
//! floor's than the file says.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use daemon_bench::{PLACE, tidy};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::Pid;

/// Which function, in whose frames, stands for which step: the first one found in a stack counts.
const STEPS: [(&str, &str); 27] = [
    ("constructor::", "1 note what is inherited"),
    ("close_descriptors", "1 close descriptors"),
    ("reset_signals", "2 reset signals"),
    ("unblock_signals", "3 reset the mask"),
    ("clean_environment", "4 clean the environment"),
    ("setsid", "6 new session"),
    ("join_new_keyring", "6 new session keyring"),
    ("streams::open_null", "9 the standard streams"),
    ("streams::connect_streams", "9 the standard streams"),
    ("set_umask", "10 umask"),
    ("change_directory", "11 working directory"),
    ("Claim::probe", "12 pidfile: is it running already?"),
    ("Claim::lock", "12 pidfile: create and lock"),
    ("Claim>::write", "12 pidfile: write"),
    ("line::write_pid", "12 pidfile: write"),
    ("own::verify", "12 pidfile: verify before readiness"),
    ("accounts::look_up", "13 look the user up"),
    ("privileges::give_up", "13 drop privileges"),
    ("starter::Starter", "15 the starter waits"),
    ("pipe::channel", "14 tell the starter"),
    ("pipe::Reporter", "14 tell the starter"),
    ("report::tell_starter", "14 tell the starter"),
    ("manager::", "is there a service manager?"),
    ("SingleThreaded::check", "is there one thread?"),
    ("process::fork", "5, 7 fork"),
    ("ForkResult", "5, 7 fork"),
    ("daemon_rt::", REST),
];
const REST: &str = "the rest of this library";
const START: &str = "ld.so, std's start, main, exit";

type Counts = BTreeMap<&'static str, usize>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    fs::create_dir(PLACE).expect("only root can run this, and only once at a time");
    nix::sys::prctl::set_child_subreaper(true).expect("Linux");
    let status = match &arguments[..] {
        [option, budget, unoptimized, floor, programs @ ..] if option == "--budget" => {
            check(budget, unoptimized, floor, programs)
        }
        [unoptimized, optimized, programs @ ..] => {
            print_tables(unoptimized, optimized, programs);
            ExitCode::SUCCESS
        }
        _ => panic!("which programs?"),
    };
    _ = fs::remove_dir_all(PLACE);
    status
}

/// Compares with the lines `PROGRAM CALLS` of the file.
fn check(budget: &str, directory: &str, floor: &str, programs: &[String]) -> ExitCode {
    let text = fs::read_to_string(budget).expect(budget);
    let calls = |program: &str| {
        let program = format!("{directory}/{program}");
        // A few more or less, as the processes wait for each other or not.
        let starts = [(); 3].map(|()| system_calls(&program).into_values().sum::<usize>());
        starts.into_iter().min().expect("three")
    };
    let of_floor = calls(floor);
    let mut status = ExitCode::SUCCESS;
    for program in programs {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(program.as_str())?.strip_prefix(' '));
        let allowed: usize = line.and_then(|number| number.parse().ok()).expect(program);
        let made = calls(program) - of_floor;
        println!("{program}: {made} system calls above the floor's {of_floor}, of {allowed}");
        if made > allowed {
            status = ExitCode::FAILURE;
        }
    }
    status
}

fn print_tables(unoptimized: &str, optimized: &str, programs: &[String]) {
    let all = |directory: &str, count: fn(&str) -> Counts| -> Vec<Counts> {
        let path = |program| format!("{directory}/{program}");
        programs
            .iter()
            .map(|program| count(&path(program)))
            .collect()
    };
    print("system calls", programs, &all(unoptimized, system_calls));
    print(
        "instructions in user mode",
        programs,
        &all(optimized, instructions),
    );
    print("page faults", programs, &all(optimized, page_faults));
}

fn print(what: &str, programs: &[String], counts: &[Counts]) {
    let mut steps: Vec<&str> = counts.iter().flat_map(BTreeMap::keys).copied().collect();
    steps.sort_unstable_by_key(|step| {
        (
            step.split([' ', ','])
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(99),
            *step,
        )
    });
    steps.dedup();
    println!(
        "| {what} | {} |\n| --- |{}",
        programs.join(" | "),
        " --: |".repeat(programs.len())
    );
    let print = |step: &str, count: &dyn Fn(&Counts) -> usize| {
        let counts = counts.iter().map(|counts| count(counts).to_string());
        println!("| {step} | {} |", counts.collect::<Vec<_>>().join(" | "));
    };
    for step in steps.iter().filter(|_| steps.len() > 1) {
        print(step, &|counts| counts.get(step).copied().unwrap_or(0));
    }
    print("all", &|counts| counts.values().sum());
    println!();
}

/// Starts a daemon, waits until it is at its main loop, which is pause(2), and ends it by this
/// signal.
fn run(mut command: Command, signal: Signal) {
    let streams = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = streams.status().expect("it can be started");
    assert!(started.success(), "{started}");
    let is_waiting = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with("34 "))
    };
    let daemon = loop {
        let children = fs::read_to_string("/proc/thread-self/children").expect("/proc");
        if let Some(daemon) = children.split_whitespace().find(|pid| is_waiting(pid)) {
            break Pid::from_raw(daemon.parse().expect("a pid"));
        }
        thread::sleep(Duration::from_millis(10));
    };
    kill(daemon, signal).expect("it runs");
    while wait().is_ok() {}
}

/// Of all processes of a start, by callgrind: the cost of the functions that stand for steps, with
/// all that they call.
fn instructions(program: &str) -> Counts {
    let mut counts = Counts::new();
    let mut command = Command::new("valgrind");
    // A daemon that has given up root writes there, too.
    let place = env::temp_dir().join(format!("daemon-bench-{}", std::process::id()));
    fs::create_dir(&place).expect("a new directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).expect("it is this process's");
    let files = format!("--callgrind-out-file={}/callgrind.%p", place.display());
    // With a new count from there: a child begins with its parent's.
    command.args(["--tool=callgrind", "--dump-before=fork", &files, program]);
    run(command, Signal::SIGUSR1); // which nobody handles, so that callgrind is there to the end
    for file in fs::read_dir(&place)
        .expect("it is there")
        .flatten()
        .map(|entry| entry.path())
    {
        let annotate = ["--inclusive=yes", "--threshold=100"];
        let annotated = Command::new("callgrind_annotate")
            .args(annotate)
            .arg(&file)
            .output()
            .expect("valgrind's own");
        let (mut all, mut costs) = (0, BTreeMap::<&str, (&str, usize)>::new());
        for line in String::from_utf8_lossy(&annotated.stdout).lines() {
            let Some((cost, function)) = line.trim_start().split_once(' ') else {
                continue;
            };
            let Ok(cost) = cost.replace(',', "").parse::<usize>() else {
                continue;
            };
            if function.contains("PROGRAM TOTALS") {
                all = cost;
            } else if let Some((name, step)) =
                STEPS.iter().find(|(name, _)| function.contains(name))
            {
                // The outermost one contains the others.
                let most = costs.entry(name).or_insert((step, 0));
                most.1 = most.1.max(cost);
            }
        }
        let (rest, steps): (Vec<_>, Vec<_>) =
            costs.into_values().partition(|(step, _)| *step == REST);
        let of_steps: usize = steps.iter().map(|(_, cost)| cost).sum();
        let of_library = rest.first().map_or(0, |(_, cost)| *cost).max(of_steps);
        let others = [(REST, of_library - of_steps), (START, all - of_library)];
        for (step, cost) in steps.into_iter().chain(others) {
            *counts.entry(step).or_default() += cost;
        }
    }
    fs::remove_dir_all(place).expect("it was just there");
    tidy();
    counts
}

/// Of all processes of a start.
fn page_faults(program: &str) -> Counts {
    let so_far = || {
        getrusage(UsageWho::RUSAGE_CHILDREN)
            .expect("Linux")
            .minor_page_faults()
    };
    let before = so_far();
    run(Command::new(program), Signal::SIGKILL);
    tidy();
    Counts::from([(START, usize::try_from(so_far() - before).expect("it grows"))])
}

/// Traces one start and ends its daemon.
fn system_calls(program: &str) -> Counts {
    let log = format!("{PLACE}/trace");
    let tracer = Command::new("strace")
        .args(["-f", "-k", "-qq", "-o", &log, program])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed");
    let log = wait_for_pause(tracer, &log);
    let mut counts = Counts::new();
    // A line for each call, and `" > program(function+0x1) [0x2]"` for each frame of its stack. A
    // call that another process interrupts has two lines, the second with the stack.
    for call in log
        .split('\n')
        .fold(Vec::<(&str, Vec<&str>)>::new(), gather)
    {
        let (line, frames) = call;
        // A starter that waits asks again for as long as the daemon takes.
        let waits = [" ppoll(", " sched_yield("];
        if line.contains("<unfinished ...>")
            || waits.iter().any(|call| line.contains(call))
            || line.contains("pause(")
            || line.contains("+++")
            || line.contains("---")
        {
            continue;
        }
        // The innermost frame that says which step it is.
        let found = STEPS
            .iter()
            .find(|(name, _)| frames.iter().any(|frame| frame.contains(name)));
        *counts
            .entry(found.map_or(START, |(_, step)| step))
            .or_default() += 1;
    }
    counts
}

fn gather<'a>(
    mut calls: Vec<(&'a str, Vec<&'a str>)>,
    line: &'a str,
) -> Vec<(&'a str, Vec<&'a str>)> {
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
        let Some(pause) = log.lines().find(|line| line.contains(" pause(")) else {
            continue;
        };
        // The starter may still be on its way out.
        thread::sleep(Duration::from_secs(1));
        let daemon = pause
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("strace -f names it");
        kill(Pid::from_raw(daemon), Signal::SIGKILL).expect("it runs");
        tracer.wait().expect("it is a child");
        while wait().is_ok() {}
        let log = fs::read_to_string(path).expect("it was just there");
        tidy();
        return log;
    }
    _ = tracer.kill();
    panic!("no daemon");
}
