//! E01, E03, E04: a process of the start is struck before any of its system calls.

use std::ops::RangeFrom;

use daemon_harness::{Scene, Started};
use nix::sys::signal::Signal;

use crate::strike::{Stricken, Target, strike};
use crate::{failed, nothing_left, ready, service, stop};

/// Strikes at each of these calls, until there is none that late; each time the outcome is checked.
fn strike_at(
    moments: impl Iterator<Item = usize>,
    target: Target,
    signal: Signal,
    check: impl Fn(&Scene, &Stricken),
) {
    for (past, nth) in moments.enumerate() {
        let scene = Scene::new();
        // A process that the starter should have reaped stays a zombie.
        scene.reap_orphans(false);
        let launch = service(&scene).arg("init:status=half way");
        let stricken = strike(&scene, launch, target, nth, signal);
        if !stricken.struck {
            ready(&scene, &stricken.started);
            assert!(past > 4, "{target:?} has too few moments: {past}");
            return;
        }
        check(&scene, &stricken);
    }
}

/// All of them.
const EACH: RangeFrom<usize> = 1..;

/// Not even a zombie.
#[track_caller]
fn nobody_left(scene: &Scene, started: &Started) {
    nothing_left(scene, started);
    assert!(
        !scene.tree().contains("state Z"),
        "a zombie is left: {}",
        scene.tree()
    );
}

#[test]
fn e01_the_daemon_is_killed_at_any_moment() {
    strike_at(
        EACH,
        Target::Daemon,
        Signal::SIGKILL,
        |scene, Stricken { started, .. }| {
            if started.status.success() {
                // It was ready, then.
                assert!(scene.pid_in_pidfile().is_some());
            } else {
                failed(scene, started, 137);
                nobody_left(scene, started);
                started.assert_says(&[
                    "svc: cannot start: the daemon was killed by signal 9 (SIGKILL)",
                ]);
            }
        },
    );
}

#[test]
fn e01_the_daemon_is_terminated_at_any_moment() {
    strike_at(
        EACH,
        Target::Daemon,
        Signal::SIGTERM,
        |scene, Stricken { started, .. }| {
            if started.status.success() {
                scene.wait_until("its end", || {
                    scene.processes().is_empty() && !scene.pidfile().exists()
                });
            } else {
                failed(scene, started, 143);
                nobody_left(scene, started);
                started.assert_says(&["the daemon was killed by signal 15 (SIGTERM)"]);
            }
        },
    );
}

#[test]
fn e03_the_intermediate_process_is_killed_at_any_moment() {
    strike_at(
        EACH,
        Target::Intermediate,
        Signal::SIGKILL,
        |scene, Stricken { started, .. }| {
            if started.status.success() {
                ready(scene, started);
            } else {
                failed(scene, started, 137);
                nobody_left(scene, started);
                started.assert_says(&["the intermediate process was killed by signal 9 (SIGKILL)"]);
            }
        },
    );
}

/// The starter was killed: before its fork nothing has begun, after it the daemon goes on.
fn goes_on(
    scene: &Scene,
    Stricken {
        started, forked, ..
    }: &Stricken,
) {
    started.assert_killed(libc::SIGKILL);
    if *forked {
        scene.wait_until("the daemon", || {
            let processes = scene.processes();
            processes.len() == 1 && scene.pid_in_pidfile() == Some(processes[0].pid())
        });
        scene.reap_orphans(true);
        stop(scene, &scene.daemon());
    } else {
        scene.assert_no_leftovers();
    }
}

#[test]
fn e04_the_starter_is_killed_at_any_moment_and_the_daemon_goes_on() {
    strike_at(EACH, Target::WaitingStarter, Signal::SIGKILL, goes_on);
}

#[test]
fn e04_the_starter_is_killed_before_its_fork() {
    strike_at(EACH.step_by(20), Target::Starter, Signal::SIGKILL, goes_on);
}

/// The starter was told to end: all or nothing.
fn all_or_nothing(scene: &Scene, Stricken { started, .. }: &Stricken) {
    if started.status.success() {
        let daemon = ready(scene, started);
        scene.reap_orphans(true);
        stop(scene, &daemon);
    } else {
        started.assert_killed(libc::SIGTERM);
        nobody_left(scene, started);
    }
}

#[test]
fn e04_the_starter_is_terminated_at_any_moment() {
    strike_at(
        EACH,
        Target::WaitingStarter,
        Signal::SIGTERM,
        all_or_nothing,
    );
}

#[test]
fn e04_the_starter_is_terminated_before_its_fork() {
    strike_at(
        EACH.step_by(20),
        Target::Starter,
        Signal::SIGTERM,
        all_or_nothing,
    );
}
