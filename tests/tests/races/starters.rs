//! E20, E24: fifty starters at once.

use std::fs;
use std::time::Duration;

use daemon_harness::{Scene, Started};
use daemon_tests::svc::service;

use crate::{at_once, outcomes, rounds};

const STARTERS: usize = 50;

/// One wins, and the others name it and change nothing, in every round.
fn fifty_over(found: Option<&[u8]>) {
    for round in 0..rounds() {
        let scene = Scene::new();
        match found {
            Some(found) => drop(scene.file("service.pid", found)),
            None => assert!(!scene.pidfile().exists()),
        }
        let starters = (0..STARTERS).map(|_| service(&scene)).collect();
        let (winners, losers) = outcomes(at_once(&scene, starters));
        let refused = |loser: &&Started| loser.status.code() == Some(80);
        let others: Vec<_> = losers.iter().filter(|loser| !refused(loser)).collect();
        assert_eq!(
            (winners.len(), others.len()),
            (1, 0),
            "round {round}: {winners:#?}, {others:#?}"
        );
        let daemon = scene.daemon();
        assert_eq!(
            fs::read(scene.pidfile()).unwrap(),
            format!("{}\n", daemon.pid()).into_bytes(),
            "round {round}"
        );
        assert_eq!(scene.lock_holders(scene.pidfile()).len(), 1);
        let named = format!("held by pid {}", daemon.pid());
        let is_named = |said: &str| {
            let said = said.strip_suffix('\n').unwrap_or_default();
            said.strip_suffix(", which is still starting")
                .unwrap_or(said)
                .ends_with(&named)
        };
        for loser in losers {
            loser.assert_exited(80);
            // At most a second is spent on finding out whom to name.
            assert!(
                is_named(&loser.stderr) || loser.elapsed > Duration::from_secs(1),
                "{loser:#?}"
            );
        }
        scene.stop(&daemon);
        scene.assert_no_leftovers();
    }
}

#[test]
fn e20_over_no_file() {
    fifty_over(None);
}

#[test]
fn e20_over_a_stale_file() {
    fifty_over(Some(b"999999999\n"));
}

#[test]
fn e20_over_a_file_that_names_another_process() {
    fifty_over(Some(b"1\n"));
}

#[test]
fn e20_over_an_empty_file() {
    fifty_over(Some(b""));
}

#[test]
fn e20_over_garbage() {
    fifty_over(Some(b"\0\xff\n\n-1 no pid"));
}

#[test]
fn e20_over_an_over_long_file() {
    fifty_over(Some(&vec![b'7'; 1 << 20]));
}
