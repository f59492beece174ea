//! What becomes of what the program has: buffers, children, signals, the environment.

use std::fs;

use daemon_harness::Scene;
use daemon_tests::svc::{named_daemon, started};

use super::late;

#[test]
fn a_buffer_is_the_daemons() {
    let scene = Scene::new();
    let file = scene.path("buffered");
    let launch = late(&scene).set("before:buffer", &file).arg("main:flush");
    let daemon = started(launch, &scene);
    scene.stop(&daemon);
    assert_eq!(fs::read_to_string(&file).unwrap(), "once\n");
}

#[test]
fn a_buffer_is_lost_with_the_start() {
    let scene = Scene::new();
    let file = scene.path("buffered");
    let launch = late(&scene).set("before:buffer", &file).arg("init:fail");
    launch.run().assert_exited(1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn children_are_not_the_daemons() {
    let scene = Scene::new();
    let launch = late(&scene).arg("before:child").arg("init:orphan");
    launch.run().assert_ready();
    scene.stop(&named_daemon(&scene));
}

#[test]
fn ignored_signals_are_reset_and_handlers_stay() {
    let scene = Scene::new();
    let launch = late(&scene)
        .ignoring([libc::SIGUSR1])
        .arg(format!("before:handler={}", libc::SIGUSR2));
    let daemon = started(launch, &scene);
    assert!(!daemon.ignored().contains(&libc::SIGUSR1));
    assert!(daemon.caught().contains(&libc::SIGUSR2));
}

#[test]
fn the_environment_is_replaced() {
    let scene = Scene::new();
    let environ = scene.path("environ");
    let launch = late(&scene)
        .env("SECRET", "hunter2")
        .arg("before:set=LATER:hunter3")
        .set("main:environ", &environ);
    let daemon = started(launch, &scene);
    scene.wait_until("what the main loop has seen", || {
        fs::read(&environ).is_ok_and(|seen| !seen.is_empty())
    });
    scene.stop(&daemon);
    let environ = fs::read_to_string(environ).unwrap();
    assert!(
        environ.contains("PATH") && !environ.contains("hunter"),
        "{environ}"
    );
}

/// Where the program has removed the first variable, its memory is erased all the same.
#[test]
fn no_secret_is_left_in_the_memory_of_the_environment() {
    let scene = Scene::new();
    let launch = late(&scene)
        .env_clear()
        .env("FIRST", "hunter2")
        .env("SECOND", "hunter3");
    let daemon = started(launch.arg("before:unset=FIRST"), &scene);
    let left = String::from_utf8_lossy(&daemon.environ_bytes()).into_owned();
    assert!(!left.contains("hunter"), "{left}");
}
