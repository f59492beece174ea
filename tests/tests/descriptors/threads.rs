//! E16: a process with several threads is not forked.

use daemon_harness::{Launch, Scene, require};
use daemon_tests::svc::{in_foreground, ready_daemon, service};

/// The service, whose `configure` hook leaves this many threads running.
fn with_threads(scene: &Scene, count: usize) -> Launch<'_> {
    (0..count).fold(service(scene), |launch, _| launch.arg("configure:thread"))
}

/// Fails if anything was done.
fn assert_nothing_happened(scene: &Scene) {
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

#[test]
fn e16_other_threads_are_refused_with_their_number() {
    for count in [1, 7] {
        let scene = Scene::new();
        let started = with_threads(&scene, count).run();
        started
            .assert_exited(85)
            .assert_says(&[&format!("{} threads", count + 1), "fork"]);
        assert_nothing_happened(&scene);
    }
}

#[test]
fn e16_other_threads_are_refused_without_proc_too() {
    require!(root());
    let scene = Scene::new();
    with_threads(&scene, 1)
        .without_proc()
        .run()
        .assert_exited(85)
        .assert_says(&["threads", "fork"]);
    assert_nothing_happened(&scene);
}

#[test]
fn e16_threads_that_were_joined_are_accepted() {
    let scene = Scene::new();
    // Each may linger in the kernel for a moment after it was joined.
    let launch = (0..50).fold(service(&scene), |launch, _| {
        launch.arg("configure:joined_thread")
    });
    ready_daemon(&scene, launch);
}

#[test]
fn e16_threads_that_were_joined_are_accepted_without_proc_too() {
    require!(root());
    let scene = Scene::new();
    ready_daemon(
        &scene,
        service(&scene)
            .arg("configure:joined_thread")
            .without_proc(),
    );
}

#[test]
fn e16_threads_may_be_started_after_the_forks() {
    let scene = Scene::new();
    let daemon = ready_daemon(
        &scene,
        service(&scene)
            .arg("privileged_init:thread")
            .arg("init:thread"),
    );
    assert_eq!(daemon.status().threads, 3);
}

#[test]
fn e16_in_the_foreground_nothing_is_forked_and_threads_may_be_started_at_any_time() {
    let scene = Scene::new();
    let running = in_foreground(&scene, with_threads(&scene, 1), "shutdown");
    assert_eq!(running.process().status().threads, 2);
}
