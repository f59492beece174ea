//! What the service finishes before it ends.

use std::fs;
use std::time::{Duration, Instant};

use daemon_harness::{Launch, Scene};
use daemon_tests::svc::{at_barrier, barrier, ready_daemon, refused, service};

/// A thread that waits, and a task.
const WAITS: [&str; 2] = ["main:drained", "main:drained_task"];

/// A service that has this long for what it holds. It expects the request before it is ready: a signal
/// that comes earlier ends it at once.
fn limited<'s>(scene: &'s Scene, milliseconds: &str) -> Launch<'s> {
    let launch = service(scene).set("drain_timeout", milliseconds);
    launch.arg("init:expect_shutdown")
}

#[test]
fn it_ends_when_it_has_finished_what_it_holds() {
    for waits in WAITS {
        let scene = Scene::new();
        let ends = [barrier(&scene, "first"), barrier(&scene, "second")];
        let hold = ends
            .each_ref()
            .map(|path| format!("main:hold={}", path.display()));
        let launch = limited(&scene, "3600000").args(hold);
        let daemon = ready_daemon(&scene, launch.arg(waits));
        daemon.signal(libc::SIGTERM);
        let [first, second] = ends.map(|path| at_barrier(&scene, &path));
        drop(first);
        assert!(!daemon.is_gone() && scene.pidfile().exists());
        drop(second);
        assert!(scene.exit_status(&daemon).success());
        assert!(!scene.pidfile().exists());
    }
}

#[test]
fn it_ends_when_the_time_is_over() {
    for waits in WAITS {
        let scene = Scene::new();
        let never = barrier(&scene, "never");
        let hold = format!("main:hold={}", never.display());
        let log = scene.path("log");
        let launch = limited(&scene, "300").set("stderr", &log).arg(hold);
        let daemon = ready_daemon(&scene, launch.arg(waits));
        let began = Instant::now();
        daemon.signal(libc::SIGTERM);
        assert!(scene.exit_status(&daemon).success());
        assert!(began.elapsed() >= Duration::from_millis(300));
        let said = fs::read_to_string(log).expect("a log");
        let words = "did not finish its work within 300ms (drain_timeout); holds left: 1";
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn it_ends_at_once_if_it_holds_nothing() {
    for waits in WAITS {
        let scene = Scene::new();
        let log = scene.path("log");
        let launch = limited(&scene, "3600000").set("stderr", &log).arg(waits);
        let daemon = ready_daemon(&scene, launch);
        daemon.signal(libc::SIGTERM);
        assert!(scene.exit_status(&daemon).success());
        assert_eq!(fs::read_to_string(log).expect("a log"), "");
    }
}

/// An executor may drop a task that is woken, and with it what the task holds.
#[test]
fn a_task_that_ends_when_it_is_woken_hangs_no_one() {
    let scene = Scene::new();
    let launch = service(&scene).set("drain_timeout", "100");
    let actions = ["main:shutdown", "main:drained_waker", "main:drained"];
    let daemon = ready_daemon(&scene, launch.arg("init:expect_shutdown").args(actions));
    daemon.signal(libc::SIGTERM);
    assert!(scene.exit_status(&daemon).success());
}

/// Whoever waits, and when: the time is that of the service.
#[test]
fn the_time_runs_once_from_the_request_on() {
    for waits in WAITS {
        let scene = Scene::new();
        let never = barrier(&scene, "never");
        let hold = format!("main:hold={}", never.display());
        let launch = limited(&scene, "3000").args([&hold, "main:shutdown", "main:sleep=3000"]);
        let daemon = ready_daemon(&scene, launch.args([waits, waits]));
        let began = Instant::now();
        daemon.signal(libc::SIGTERM);
        assert!(scene.exit_status(&daemon).success());
        assert!(began.elapsed() < Duration::from_secs(6));
    }
}

#[test]
fn it_is_over_before_a_stop_timeout_that_is_short() {
    for waits in WAITS {
        let scene = Scene::new();
        let never = barrier(&scene, "never");
        let launch = service(&scene)
            .set("stop_timeout", "5000")
            .arg("init:expect_shutdown")
            .arg(format!("main:hold={}", never.display()));
        let daemon = ready_daemon(&scene, launch.arg(waits));
        daemon.signal(libc::SIGTERM);
        assert!(scene.exit_status(&daemon).success());
    }
}

#[test]
fn a_time_that_is_not_shorter_than_stop_timeout_is_refused() {
    let scene = Scene::new();
    let launch = limited(&scene, "3000").set("stop_timeout", "3000");
    let words = ["drain_timeout 3s", "must be shorter than stop_timeout"];
    refused(launch, &scene, 2, &words);
}
