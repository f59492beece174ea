//! E25, E28: the number of a daemon that has just died is another's: a stranger's, which must never
//! be hit, or that of a process of the next start.
//!
//! Each test runs in a process namespace of its own, where numbers can be chosen and nobody else
//! takes any.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use std::{env, fs, thread};

use daemon_harness::{Proc, Running, Scene, Started, Stdio, Stranger, require};
use daemon_tests::ctl::Ctl;

use crate::control::assert_sensible;
use crate::{Dice, at_once, is_in, rounds};

/// As a round takes little time.
const TIMES: usize = 10;
/// Set where the test has its namespace.
const INSIDE: &str = "DAEMON_TESTS_OWN_PIDS";

/// Runs the body of the test of this name with this test binary as PID 1 of a new namespace.
fn with_own_pids(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let scene = Scene::new();
    let launch =
        scene
            .launch("/usr/bin/unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    let launch =
        launch
            .arg(env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"]);
    let passed =
        ["DAEMON_TESTS_ROUNDS", "DAEMON_TESTS_SEED"].map(|name| Some((name, env::var_os(name)?)));
    let launch = passed
        .into_iter()
        .flatten()
        .fold(launch, |launch, (name, value)| launch.env(name, value));
    let limit = Duration::from_mins(1).saturating_mul(u32::try_from(rounds()).unwrap_or(u32::MAX));
    let done = launch.env(INSIDE, "1").limit(limit).run();
    _ = io::stderr().write_all(done.stderr.as_bytes());
    assert!(
        done.status.success() && done.stdout.contains("1 passed"),
        "{}",
        done.stdout
    );
}

/// Whoever is left, if anyone is: the one instance that the pidfile names.
fn in_peace(scene: &Scene) -> Option<i32> {
    let mut left = None;
    scene.wait_until("peace", || {
        let processes = scene.processes();
        left = processes.first().map(Proc::pid);
        processes.len() <= 1 && (left.is_none() || left == scene.pid_in_pidfile())
    });
    left
}

/// The service is controlled as if the stranger were not there; `running` is its pid.
fn assert_truth(ctl: &Ctl<'_>, scene: &Scene, stranger: &Stranger, running: Option<i32>) {
    let status = ctl.run("status");
    if let Some(pid) = running {
        assert_ne!(pid, stranger.pid());
        assert!(
            status
                .assert_exited(0)
                .stdout
                .contains(&format!("pid {pid}, since")),
            "{status:?}"
        );
        ctl.run("start")
            .assert_exited(80)
            .assert_says(&[&format!("held by pid {pid}\n")]);
        ctl.succeeds("reload");
    } else {
        // Its file is still there or, where it was told to end before it died, is not.
        assert!(matches!(status.status.code(), Some(1 | 3)), "{status:?}");
        ctl.run("reload")
            .assert_exited(1)
            .assert_says(&["is not running"]);
        assert!(ctl.succeeds("stop").ends_with("is not running\n"));
        ctl.start();
    }
    ctl.run("restart").assert_ready();
    // The older instance may still have requests to finish.
    assert!(in_peace(scene).is_some_and(|pid| pid != stranger.pid()));
    ctl.succeeds("stop");
    scene.assert_no_leftovers();
}

/// The daemon is killed at a random moment while commands are given, and at once a stranger has its
/// number.
fn fight(dice: &mut Dice, listens: bool) {
    let scene = &Scene::new();
    let ctl = Ctl::new(scene).with("reloads", "");
    let ctl = if listens {
        ctl.with("listen", scene.path("address"))
    } else {
        ctl
    };
    let daemon = ctl.start();
    let choice = [
        "stop",
        "status",
        "reload",
        "restart",
        "start",
        "stop --timeout 1ms",
    ];
    let lines: Vec<&str> = (0..4).map(|_| dice.one_of(&choice)).collect();
    let commands = lines.iter().map(|line| ctl.command(line)).collect();
    let (_gate, running) = at_once(scene, commands);
    thread::sleep(Duration::from_micros(dice.below(12_000)));
    daemon.kill();
    let stranger = Stranger::taking(daemon.pid());
    let ended: Vec<Started> = running.into_iter().map(Running::wait).collect();
    stranger.assert_unharmed();
    for (line, ended) in lines.iter().zip(&ended) {
        match line.split(' ').next() {
            // What it said was true when it looked.
            Some("status") => assert!(
                matches!(ended.status.code(), Some(0 | 1 | 3 | 4)),
                "{ended:#?}"
            ),
            Some("reload") => assert!(matches!(ended.status.code(), Some(0 | 1)), "{ended:#?}"),
            command => assert_sensible(command.unwrap_or_default(), ended),
        }
    }
    let truth = catch_unwind(AssertUnwindSafe(|| {
        assert_truth(&ctl, scene, &stranger, in_peace(scene));
    }));
    assert!(truth.is_ok(), "after {ended:#?}\n{}", scene.tree());
    stranger.assert_unharmed();
}

#[test]
fn e28_a_stranger_takes_the_number_while_commands_are_given() {
    require!(root(), tool("unshare"));
    with_own_pids(
        "reuse::e28_a_stranger_takes_the_number_while_commands_are_given",
        || {
            let mut dice = Dice::new();
            for round in 0..rounds() * TIMES {
                fight(&mut dice, round % 2 == 1);
            }
        },
    );
}

/// The stranger takes the number between what the command has seen and what it does next: the start
/// of this system call, its first.
fn takes_it_before(line: &str, call: libc::c_long, name: &str, ends: i32) {
    let scene = &Scene::new();
    let hangups = scene.path("hangups");
    let ctl = Ctl::new(scene).with("hangup", &hangups);
    let daemon = ctl.start();
    let delay = format!("inject={name}:delay_enter=400000:when=1");
    let running = ctl.command(line).strace("calls", &["-e", &delay]).spawn();
    scene.wait_until(name, || is_in(&running.process(), call));
    daemon.kill();
    let stranger = Stranger::taking(daemon.pid());
    let ended = running.wait();
    assert_eq!(
        ended.status.code(),
        Some(ends),
        "{line} before {name}: {ended:#?}"
    );
    stranger.assert_unharmed();
    assert!(!hangups.exists(), "nobody was there to be told");
    if let Some(next) = in_peace(scene) {
        assert_ne!(next, stranger.pid());
        ctl.succeeds("stop");
    }
    stranger.assert_unharmed();
}

#[test]
fn e28_a_stranger_takes_the_number_just_before_the_next_call() {
    require!(root(), tool("unshare"), tool("strace"));
    with_own_pids(
        "reuse::e28_a_stranger_takes_the_number_just_before_the_next_call",
        || {
            let open = (libc::SYS_pidfd_open, "pidfd_open");
            let send = (libc::SYS_pidfd_send_signal, "pidfd_send_signal");
            let cases = [
                ("stop", open, 0),
                ("stop", send, 0),
                ("reload", open, 1),
                ("reload", send, 0),
            ];
            for (line, (call, name), ends) in cases
                .into_iter()
                .chain([("restart", open, 0), ("restart", send, 0)])
            {
                takes_it_before(line, call, name, ends);
            }
        },
    );
}

/// The number in a stale file is given to the starter itself, to the intermediate process, and to
/// the daemon.
#[test]
fn e25_the_number_in_the_file_becomes_that_of_each_process_of_the_start() {
    require!(root(), tool("unshare"));
    with_own_pids(
        "reuse::e25_the_number_in_the_file_becomes_that_of_each_process_of_the_start",
        || {
            let scene = &Scene::new();
            let log = scene.path("said");
            let ctl = Ctl::new(scene);
            let mut who = BTreeSet::new();
            for round in 0..rounds().max(3) {
                for before in 1..5 {
                    let number = 20_000 + 100 * i32::try_from(round).expect("a few rounds");
                    fs::write(scene.pidfile(), format!("{number}\n")).expect("a stale file");
                    fs::write(
                        "/proc/sys/kernel/ns_last_pid",
                        (number - before).to_string(),
                    )
                    .expect("the last number");
                    // The test would read pipes by threads, which take numbers, too.
                    let quiet = || Stdio::File(log.clone());
                    ctl.command("start")
                        .stdout(quiet())
                        .stderr(quiet())
                        .spawn()
                        .wait()
                        .assert_exited(0);
                    let daemon = scene.daemon();
                    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
                    // The intermediate process has led the daemon's session.
                    let roles = [
                        ("the daemon", daemon.pid()),
                        ("the intermediate process", daemon.stat().session),
                    ];
                    who.extend(
                        roles
                            .into_iter()
                            .filter(|(_, pid)| *pid == number)
                            .map(|(role, _)| role),
                    );
                    let status = ctl.succeeds("status");
                    assert!(
                        status.contains(&format!("pid {}, since", daemon.pid())),
                        "{status}"
                    );
                    ctl.succeeds("stop");
                    scene.assert_no_leftovers();
                }
            }
            assert_eq!(
                Vec::from_iter(who),
                ["the daemon", "the intermediate process"]
            );
        },
    );
}

/// `status` knows what older instances have left by the numbers of their sessions.
#[test]
fn a_stranger_in_a_session_of_an_old_number_was_not_left_by_the_service() {
    require!(root(), tool("unshare"));
    with_own_pids(
        "reuse::a_stranger_in_a_session_of_an_old_number_was_not_left_by_the_service",
        || {
            let scene = &Scene::new();
            let ctl = Ctl::new(scene).with("listen", scene.path("address"));
            let session = ctl.start().stat().session;
            ctl.run("restart").assert_ready();
            in_peace(scene);
            let stranger = Stranger::taking(session);
            // It is younger than the instance that runs, and older than the next one.
            for _ in 0..2 {
                let status = ctl.succeeds("status --json");
                assert!(status.contains(r#""left":[],"#), "{status}");
                ctl.run("restart").assert_ready();
                in_peace(scene);
            }
            stranger.assert_unharmed();
            ctl.succeeds("stop");
        },
    );
}
