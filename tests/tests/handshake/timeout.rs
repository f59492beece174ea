//! E05: `start_timeout` ends a start that takes too long, and all that it has begun.

use std::fs;
use std::time::Duration;

use daemon_harness::{PROMPT, Scene, Started};

use crate::{Barrier, failed, only_line, ready, service};

/// Too late, as it was said, and not before the time.
#[track_caller]
fn timed_out(scene: &Scene, started: &Started) {
    failed(scene, started, 124);
    assert!(started.elapsed >= Duration::from_millis(300), "{started:?}");
}

#[test]
fn e05_a_hook_that_never_returns() {
    for hook in ["privileged_init", "init"] {
        for ending in [
            "hang",
            "kill=19",
            "sh=sleep 1000",
            "sh=trap '' TERM; kill -STOP $$",
        ] {
            let scene = Scene::new();
            let started = service(&scene)
                .set("start_timeout", "300")
                .arg(format!("{hook}:{ending}"))
                .run();
            timed_out(&scene, &started);
            assert_eq!(
                only_line(&started),
                "svc: not ready within 300ms: the daemon was killed"
            );
        }
    }
}

#[test]
fn e05_what_was_started_ends_too() {
    let scene = Scene::new();
    let launch = service(&scene)
        .set("start_timeout", "300")
        .arg("init:fork")
        .arg("init:spawn=sleep 1000");
    let launch = launch
        .arg("init:spawn=exec setsid sleep 1000")
        .arg("init:spawn_apart=exec sleep 1000");
    let orphan = "init:sh=setsid sh -c 'trap \"\" TERM; sleep 1000 & wait' & exit 0";
    timed_out(&scene, &launch.arg(orphan).arg("init:hang").run());
}

#[test]
fn e05_progress_does_not_put_it_off() {
    let scene = Scene::new();
    let progress = (0..40).flat_map(|_| ["init:status=still at it", "init:sleep=20"]);
    let started = service(&scene)
        .set("start_timeout", "300")
        .args(progress)
        .arg("init:hang")
        .run();
    timed_out(&scene, &started);
    assert!(started.elapsed < PROMPT, "{started:?}");
    started.assert_says(&["svc: still at it\n"]);
}

#[test]
fn e05_the_time_that_configure_takes_does_not_count() {
    let scene = Scene::new();
    ready(
        &scene,
        &service(&scene)
            .set("start_timeout", "3000")
            .arg("configure:sleep=3100")
            .run(),
    );
}

#[test]
fn e05_the_longest_time_is_no_time_limit() {
    let scene = Scene::new();
    ready(
        &scene,
        &service(&scene)
            .set("start_timeout", "max")
            .arg("init:sleep=20")
            .run(),
    );
}

#[test]
fn e05_no_time_at_all_is_a_failed_start() {
    let scene = Scene::new();
    let started = service(&scene)
        .set("start_timeout", "0")
        .arg("init:hang")
        .run();
    assert!(
        [124, 2].contains(&started.status.code().unwrap()),
        "{started:?}"
    );
    scene.assert_no_leftovers();
}

#[test]
fn e05_a_daemon_that_is_ready_is_not_ended_later() {
    let scene = Scene::new();
    let started = service(&scene).set("start_timeout", "3000").run();
    let daemon = ready(&scene, &started);
    std::thread::sleep(Duration::from_millis(3200).saturating_sub(started.elapsed));
    assert!(!daemon.is_gone());
}

#[test]
fn e05_without_a_limit_it_waits() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = service(&scene).args(barrier.at("init")).spawn();
    barrier.await_hook();
    assert!(running.is_running());
    barrier.open();
    ready(&scene, &running.wait());
}

#[test]
fn a_starter_that_waits_for_long_uses_no_processor() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = service(&scene).args(barrier.at("init")).spawn();
    barrier.await_hook();
    let used = || {
        fs::read_to_string(format!("/proc/{}/schedstat", running.process().pid())).expect("/proc")
    };
    scene.wait_until("the starter to sleep", || {
        let before = used();
        std::thread::sleep(Duration::from_millis(50));
        before == used()
    });
    barrier.open();
    ready(&scene, &running.wait());
}
