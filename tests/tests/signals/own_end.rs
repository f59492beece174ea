//! A service requests its own end, and has a limit on the time that its end takes.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use daemon_harness::{Launch, Scene, require};
use daemon_tests::svc::{in_foreground, ready_daemon, service};

use crate::Service;

/// Status of a service that has not ended in time.
const NOT_ENDED: i32 = 97;
/// What it says.
const WORDS: &str = "did not end within 300ms";

/// A service that expects the request, and has this long for its end.
fn limited(scene: &Scene) -> Launch<'_> {
    service(scene)
        .set("stop_timeout", "300")
        .arg("init:expect_shutdown")
}

#[test]
fn a_service_that_requests_its_end_ends_as_by_sigterm() {
    let scene = Scene::new();
    let launch = service(&scene).set("mode", "foreground");
    launch
        .arg("main:request")
        .arg("main:shutdown")
        .run()
        .assert_exited(0);
    assert!(!scene.pidfile().exists());
}

#[test]
fn all_parts_of_the_service_hear_that_it_has_requested_its_end() {
    let listeners = [
        "init:tokio=SIGTERM",
        "init:shutdown=SIGTERM",
        "init:iterator=SIGTERM",
    ];
    let service = Service::new().with(listeners).with(["ends=3", "request="]);
    let running = service.in_foreground();
    assert!(running.wait().status.success());
    let mut notes = service.notes();
    notes.sort();
    assert_eq!(
        notes,
        [
            "drained",
            "iterator SIGTERM",
            "shutdown -",
            "tokio SIGTERM",
            "up"
        ]
    );
}

#[test]
fn one_that_does_not_end_in_time_ends_with_a_message_and_a_status() {
    let scene = Scene::new();
    let log = scene.path("log");
    let daemon = ready_daemon(&scene, limited(&scene).set("stderr", &log).arg("main:hang"));
    let began = Instant::now();
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).code(), Some(NOT_ENDED));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(!scene.pidfile().exists());
    let said = fs::read_to_string(log).expect("a log");
    assert!(said.contains(WORDS) && said.lines().count() == 1, "{said}");
}

#[test]
fn the_limit_holds_in_the_foreground_and_for_a_request_of_its_own() {
    let scene = Scene::new();
    let launch = limited(&scene).set("mode", "foreground");
    let ended = launch.arg("main:request").arg("main:hang").run();
    ended.assert_exited(NOT_ENDED).assert_says(&[WORDS]);
    assert!(!scene.pidfile().exists());
}

/// Nobody can write to standard error while that thread has it.
#[test]
fn the_message_does_not_hold_up_the_end() {
    let scene = Scene::new();
    let daemon = ready_daemon(
        &scene,
        limited(&scene)
            .set("stderr", scene.path("log"))
            .arg("main:hang_with_stderr"),
    );
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).code(), Some(NOT_ENDED));
}

#[test]
fn one_that_ends_in_time_knows_nothing_of_the_limit() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, limited(&scene).arg("main:shutdown"));
    assert!(scene.stop(&daemon).success());
    // Without a request it runs on.
    let running = in_foreground(&scene, limited(&scene), "sleep=600");
    running.wait().assert_exited(0);
}

#[test]
fn a_service_that_does_not_ask_for_requests_ends_by_the_signal() {
    let scene = Scene::new();
    let launch = service(&scene)
        .set("stop_timeout", "60000")
        .arg("main:hang");
    let daemon = ready_daemon(&scene, launch);
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).signal(), Some(libc::SIGTERM));
}

/// A thread before the change of the user would keep root's privileges, and fail the start.
#[test]
fn requests_may_be_expected_before_privileges_are_dropped() {
    require!(root());
    let scene = Scene::new();
    let launch = service(&scene)
        .set("stop_timeout", "300")
        .set("user", "nobody")
        .arg("privileged_init:expect_shutdown")
        .arg("main:hang");
    let daemon = ready_daemon(&scene, launch);
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).code(), Some(NOT_ENDED));
}
