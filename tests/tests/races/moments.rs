//! E04, E14: signals and hang-ups at random moments of the start: all or nothing.

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use daemon_harness::{PATIENCE, Proc, Running, Scene, Started};
use daemon_tests::svc::service;
use libc::{SIGABRT, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM};

use crate::{Dice, rounds};

/// In which a start is over, on an idle machine.
const START: u64 = 30_000;
/// As the other races start many in a round.
const STARTS: usize = 10;

/// The daemon is ready, and nothing else is there; or nothing at all is.
fn all_or_nothing(scene: &Scene) -> Result<Option<Proc>, String> {
    let mut processes = scene.processes();
    match (processes.pop(), processes.len()) {
        (None, _) if scene.leftovers().is_empty() => Ok(None),
        (Some(daemon), 0)
            if scene.pid_in_pidfile() == Some(daemon.pid())
                && daemon.stat().session != daemon.pid() =>
        {
            Ok(Some(daemon))
        }
        _ => Err(scene.tree()),
    }
}

/// After a start that something has disturbed.
fn settle(scene: &Scene, started: &Started, moment: u64) {
    let context = format!("after {moment} µs: {started:#?}");
    if started.status.signal() == Some(SIGKILL) {
        // Before the fork nothing has begun; after it the daemon goes on, and takes its time.
        scene.wait_until(&context, || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                all_or_nothing(scene).is_ok()
            }))
            .unwrap_or(false)
        });
    }
    let daemon = all_or_nothing(scene).unwrap_or_else(|tree| panic!("{context}\n{tree}"));
    if started.status.success() {
        assert!(daemon.is_some(), "{context}");
    } else if started.status.signal() != Some(SIGKILL) {
        assert!(daemon.is_none(), "{context}");
    }
    if let Some(daemon) = daemon {
        scene.stop(&daemon);
    }
}

/// A signal may come after the end.
fn send(running: &Running<'_>, signal: i32) {
    if let Some(process) = Proc::new(running.pid()).filter(|process| !process.is_gone()) {
        process.send(signal);
    }
}

#[test]
fn e04_the_starter_gets_a_signal_at_a_random_moment() {
    let mut dice = Dice::new();
    for _ in 0..rounds() * STARTS {
        let scene = Scene::new();
        let signal = dice.one_of(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGKILL]);
        let moment = dice.below(START);
        let running = service(&scene).arg("init:status=half way").spawn();
        thread::sleep(Duration::from_micros(moment));
        send(&running, signal);
        let started = running.wait();
        let how = started.status.signal();
        assert!(
            started.status.success() || how == Some(signal),
            "signal {signal} after {moment} µs: {started:#?}"
        );
        settle(&scene, &started, moment);
    }
}

#[test]
fn e04_the_starter_is_suspended_at_a_random_moment() {
    let mut dice = Dice::new();
    for _ in 0..rounds() * STARTS {
        let scene = Scene::new();
        let moment = dice.below(START);
        let running = service(&scene).arg("init:status=half way").spawn();
        thread::sleep(Duration::from_micros(moment));
        send(&running, SIGSTOP);
        thread::sleep(Duration::from_micros(dice.below(START)));
        send(&running, SIGCONT);
        let started = running.wait();
        started.assert_ready();
        settle(&scene, &started, moment);
    }
}

#[test]
fn e01_the_daemon_gets_a_signal_at_a_random_moment() {
    let mut dice = Dice::new();
    for _ in 0..rounds() * STARTS {
        let scene = Scene::new();
        let signal = dice.one_of(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGKILL, SIGABRT]);
        let running = service(&scene)
            .arg("init:sleep=10")
            .arg("init:status=half way")
            .spawn();
        scene.wait_until("the pid", || {
            scene.pid_in_pidfile().is_some() || !running.is_running()
        });
        let moment = dice.below(START);
        thread::sleep(Duration::from_micros(moment));
        let daemon = scene
            .pid_in_pidfile()
            .and_then(Proc::new)
            .expect("the daemon");
        daemon.send(signal);
        let started = running.wait();
        assert!(
            started.status.success() || started.status.code() == Some(128 + signal),
            "{started:#?}"
        );
        daemon.wait_gone(PATIENCE);
        scene.wait_until("its end", || scene.leftovers().is_empty());
    }
}

#[test]
fn e14_the_terminal_hangs_up_at_a_random_moment() {
    let mut dice = Dice::new();
    for _ in 0..rounds() * STARTS {
        let scene = Scene::new();
        let running = service(&scene)
            .arg("init:status=half way")
            .on_terminal()
            .spawn();
        let moment = dice.below(START);
        thread::sleep(Duration::from_micros(moment));
        scene.terminal().hang_up();
        let started = running.wait();
        let how = started.status.signal();
        assert!(
            started.status.success() || how == Some(SIGHUP),
            "after {moment} µs: {started:#?}"
        );
        settle(&scene, &started, moment);
    }
}
