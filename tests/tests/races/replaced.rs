//! E23: somebody unlinks and replaces the file while starters want it.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use daemon_harness::{Scene, Started};
use daemon_tests::svc::service;

use crate::{Dice, at_once, outcomes, rounds};

/// Takes the file away or puts another in its place, at random moments, until it is over.
fn meddle(scene: &Scene, dice: &mut Dice, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(dice.below(4000)));
        match dice.below(3) {
            0 => drop(fs::remove_file(scene.pidfile())),
            1 => drop(fs::rename(
                scene.file("other", "999999999\n"),
                scene.pidfile(),
            )),
            _ => drop(fs::rename(scene.file("other", ""), scene.pidfile())),
        }
    }
}

#[test]
fn e23_whoever_has_the_file_now_is_the_service_and_nobody_else_removes_it() {
    const STARTERS: usize = 12;
    let mut dice = Dice::new();
    for _ in 0..rounds() {
        let scene = Scene::new();
        let over = AtomicBool::new(false);
        let (winners, losers): (Vec<Started>, Vec<Started>) = thread::scope(|scope| {
            scope.spawn(|| meddle(&scene, &mut dice, &over));
            let starters = at_once(&scene, (0..STARTERS).map(|_| service(&scene)).collect());
            let outcomes =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| outcomes(starters)));
            over.store(true, Ordering::Relaxed);
            outcomes.expect("starters that end")
        });
        for loser in &losers {
            // Another was faster, or the file was taken from under it.
            let code = loser.status.code();
            assert!(
                matches!(code, Some(80 | 92)) && !loser.stderr.is_empty(),
                "{loser:#?}"
            );
        }
        // Every starter that failed has left nobody.
        assert_eq!(scene.processes().len(), winners.len());

        // Now there is peace: one more start succeeds, or names the holder.
        service(&scene).run();
        let inode = fs::metadata(scene.pidfile()).unwrap().ino();
        let named = scene
            .pid_in_pidfile()
            .expect("a pidfile that names the service");
        let (service, others): (Vec<_>, Vec<_>) = scene
            .processes()
            .into_iter()
            .partition(|it| it.pid() == named);
        assert_eq!(
            (service.len(), scene.lock_holders(scene.pidfile()).len()),
            (1, 1)
        );
        for other in others {
            scene.stop(&other);
        }
        assert_eq!(fs::metadata(scene.pidfile()).unwrap().ino(), inode);
        assert_eq!(scene.pid_in_pidfile(), Some(named));
        scene.stop(&service[0]);
        assert!(!scene.pidfile().exists());
        scene.assert_no_leftovers();
    }
}
