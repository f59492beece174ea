//! What a daemon costs while it has nothing to do.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use daemon_bench::tidy;
use serde::Serialize;

use crate::measure::{Program, children, end_daemons};

/// How long the daemon is watched.
const WATCH: Duration = Duration::from_secs(3);

#[derive(Serialize)]
pub struct Resident {
    name: String,
    private_kib: u64,
    anonymous_kib: u64,
    threads: u64,
    wake_ups: u64,
    binary_bytes: u64,
}

pub fn measure(programs: &Path) -> Vec<Resident> {
    let names = [
        "floor",
        "ours",
        "ours_pidfile",
        "ours_user",
        "daemonize",
        "fork",
        "dmon",
    ];
    names.map(|name| of(name, &programs.join(name))).into()
}

fn of(name: &str, program: &Path) -> Resident {
    Program::new(program).run();
    // Some are still on their way when their starters have ended.
    sleep(Duration::from_millis(100));
    let [daemon] = children()[..] else {
        panic!("{name} has not left one daemon")
    };
    let file = |name: &str| fs::read_to_string(format!("/proc/{daemon}/{name}")).expect("it runs");
    let wake_ups = || number(&file("status"), "voluntary_ctxt_switches");
    let before = wake_ups();
    sleep(WATCH);
    let wake_ups = wake_ups() - before;
    let pages = file("smaps_rollup");
    let private_kib = number(&pages, "Private_Clean") + number(&pages, "Private_Dirty");
    let anonymous_kib = number(&pages, "Anonymous");
    let threads = number(&file("status"), "Threads");
    end_daemons();
    tidy();
    let binary_bytes = fs::metadata(program).expect("it was just run").len();
    Resident {
        name: name.to_owned(),
        private_kib,
        anonymous_kib,
        threads,
        wake_ups,
        binary_bytes,
    }
}

/// The number in the line `name:  number …`.
fn number(text: &str, name: &str) -> u64 {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .expect("the kernel says it")
}

pub fn print(rows: &[Resident]) {
    println!(
        "### Resident\n\n| | private, KiB | of it anonymous | threads | wake-ups in 3 s | binary, KiB |"
    );
    println!("| --- | --: | --: | --: | --: | --: |");
    for Resident {
        name,
        private_kib,
        anonymous_kib,
        threads,
        wake_ups,
        binary_bytes,
    } in rows
    {
        println!(
            "| {name} | {private_kib} | {anonymous_kib} | {threads} | {wake_ups} | {} |",
            binary_bytes / 1024
        );
    }
    println!();
}
