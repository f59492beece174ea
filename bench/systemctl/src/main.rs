//! `daemon-bench-systemctl DIRECTORY ROUNDS`, called by `bench/run`: stopping the same service by
//! systemd and by its pidfile, both from a shell of the same machine.

use std::path::Path;
use std::time::{Duration, Instant};

use daemon_harness::managers::{Machine, Root, Systemd};

const PIDFILE: &str = "/run/daemon-bench/ours_pidfile.pid";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, programs, rounds] = &arguments[..] else {
        panic!("which programs, and how often?")
    };
    let rounds: usize = rounds.parse().expect("a number");
    if !Machine::possible() || !Path::new("/lib/systemd/systemd").exists() {
        println!(
            "### Stop, in a machine under systemd\n\nNot measured: no such machine can be made here.\n"
        );
        return;
    }
    let service = format!("{programs}/ours_pidfile");
    let unit = format!("[Service]\nType=forking\nPIDFile={PIDFILE}\nExecStart={service}\n");
    let machine = Systemd::boot(Root::new().text("/etc/systemd/system/bench.service", &unit));
    machine.run(["mkdir", "/run/daemon-bench"]).expect_success();
    let run = |command: &[&str]| {
        let began = Instant::now();
        machine.run(command).expect_success();
        began.elapsed()
    };
    let start_by_systemd = || _ = run(&["systemctl", "start", "bench"]);
    let start = || _ = run(&[&service]);
    let stop = format!("{programs}/stop");

    let mut rows: [(&str, Vec<Duration>); 4] = [
        ("nothing: the shell and `true`", Vec::new()),
        ("`Control::stop`, a program", Vec::new()),
        ("start-stop-daemon --stop --retry 5", Vec::new()),
        ("systemctl stop", Vec::new()),
    ];
    for _ in 0..rounds {
        rows[0].1.push(run(&["true"]));
        start();
        rows[1].1.push(run(&[&stop, PIDFILE]));
        start();
        rows[2].1.push(run(&[
            "start-stop-daemon",
            "--stop",
            "--quiet",
            "--retry",
            "5",
            "--pidfile",
            PIDFILE,
        ]));
        start_by_systemd();
        rows[3].1.push(run(&["systemctl", "stop", "bench"]));
    }
    println!(
        "### Stop, in a machine under systemd {}\n",
        machine.version()
    );
    println!("| | median, ms | p25–p75 |\n| --- | --: | --: |");
    for (name, mut times) in rows {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!("| {name} | {:.1} | {:.1}–{:.1} |", at(50), at(25), at(75));
    }
    println!();
}
