//! The tasks that wait for the request to end.

use daemon_harness::{Scene, bin};

#[test]
fn tasks_that_have_ended_are_let_go_and_one_that_waits_hears_the_request() {
    let scene = Scene::new();
    let launch = scene.launch(bin("passing"));
    launch.set("pidfile", scene.pidfile()).run().assert_ready();
    let daemon = scene.daemon();
    daemon.signal(libc::SIGTERM);
    assert!(scene.exit_status(&daemon).success());
}
