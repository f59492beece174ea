//! E28: start against stop against restart, all at the same moment.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use daemon_harness::{Proc, Running, Scene, Started};
use daemon_tests::ctl::Ctl;

use crate::{at_once, rounds};

/// What a command may end with, whoever was faster: done; refused because another runs, or ended it
/// meanwhile, with a message.
pub(crate) fn assert_sensible(line: &str, ended: &Started) {
    let said = !ended.stderr.is_empty();
    let sensible = match ended.status.code() {
        Some(0) => true,
        // A start that a stop or restart has ended says how: its daemon was terminated (143) or
        // killed.
        Some(code) => {
            said && matches!(
                (line, code),
                ("start" | "restart", 1 | 80 | 92 | 128..) | ("stop", 1)
            )
        }
        None => false,
    };
    assert!(sensible, "{line}: {ended:#?}");
}

/// At most one instance is left, and the pidfile names it; then start and stop do what they should.
/// `listens` is a service that can hand its sockets over.
fn fight(listens: bool, lines: &[&str]) {
    for round in 0..rounds() {
        let scene = &Scene::new();
        let ctl = Ctl::new(scene);
        let ctl = if listens {
            ctl.with("listen", scene.path("address"))
        } else {
            ctl
        };
        if round % 2 == 1 {
            ctl.start();
        }
        let commands = lines.iter().map(|line| ctl.command(line)).collect();
        let (_gate, running) = at_once(scene, commands);
        let ended: Vec<Started> = running.into_iter().map(Running::wait).collect();
        lines
            .iter()
            .zip(&ended)
            .for_each(|(line, ended)| assert_sensible(line, ended));
        // One that was told to end may still be about to.
        let peace = catch_unwind(AssertUnwindSafe(|| {
            scene.wait_until("peace", || match scene.processes().as_slice() {
                [] => true,
                [daemon] => scene.pid_in_pidfile() == Some(Proc::pid(daemon)),
                _ => false,
            });
        }));
        assert!(
            peace.is_ok(),
            "round {round}: the pidfile holds {:?}, locked by {:?}\n{ended:#?}\n{}",
            fs::read_to_string(scene.pidfile()),
            scene.lock_holders(scene.pidfile()),
            scene.tree()
        );
        ctl.succeeds("stop");
        scene.assert_no_leftovers();
        ctl.start();
        ctl.succeeds("stop");
        scene.assert_no_leftovers();
    }
}

#[test]
fn e28_start_against_stop() {
    fight(false, &["start", "stop"].repeat(6));
}

#[test]
fn e28_start_against_stop_against_restart() {
    fight(false, &["start", "stop", "restart"].repeat(4));
}

#[test]
fn e28_start_against_stop_against_a_restart_that_hands_over() {
    fight(true, &["start", "stop", "restart"].repeat(4));
}

#[test]
fn e28_restarts_against_each_other() {
    fight(true, &["restart"; 8]);
}
