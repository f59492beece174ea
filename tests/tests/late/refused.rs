//! What is refused: threads, and a second start.

use std::fs;

use daemon_harness::{Scene, require};
use daemon_tests::svc::started;

use super::inheriting;

#[test]
fn a_program_with_threads_is_refused_in_any_mode() {
    for mode in ["detach", "foreground"] {
        let scene = Scene::new();
        let launch = inheriting(&scene)
            .arg("before:thread")
            .env("DAEMON_MODE", mode);
        let start = launch.run();
        start.assert_exited(85).assert_says(&["2 threads run"]);
        scene.assert_no_leftovers();
    }
}

/// The other threads may use what is closed, reset and replaced.
#[test]
fn threads_are_looked_for_before_anything_is_changed() {
    require!(tool("strace"));
    let scene = Scene::new();
    let calls = "trace=unshare,close,fcntl,rt_sigaction,rt_sigprocmask,socket";
    let launch = inheriting(&scene).arg("before:thread");
    let launch = launch.strace("calls", &["-e", calls]);
    launch.run().assert_exited(85);
    scene.wait_until("the end of strace", || !scene.tree().contains("strace"));
    let calls = fs::read_to_string(scene.path("calls")).unwrap();
    let lines: Vec<&str> = calls.lines().collect();
    let is_look = |line: &&str| line.contains("unshare(CLONE_THREAD)");
    let first = lines.iter().position(is_look);
    let first = first.expect("a look at the threads");
    // The last look is the one before it says why it ends: beside a thread that limits that time.
    let last = lines.iter().rposition(is_look).expect("the same");
    // The other thread sets its own mask when it begins.
    let (thread, _) = lines[first].split_once(' ').expect("the thread's number");
    let changes = |line: &&str| line.starts_with(thread) && !is_look(line) && line.contains('(');
    let changes: Vec<&str> = lines[first..last].iter().copied().filter(changes).collect();
    assert!(changes.is_empty(), "{changes:#?}");
}

/// A thread of `configure` is found before the fork.
#[test]
fn threads_of_configure_are_refused() {
    let scene = Scene::new();
    let launch = inheriting(&scene).arg("configure:thread");
    launch
        .run()
        .assert_exited(85)
        .assert_says(&["2 threads run"]);
    scene.assert_no_leftovers();
}

#[test]
fn a_second_start_is_refused_at_any_moment() {
    for moment in ["configure", "init", "main"] {
        for place in ["function", "module", "builder"] {
            let scene = Scene::new();
            let launch = inheriting(&scene)
                .set("place", place)
                .arg(format!("{moment}:again"));
            let daemon = started(launch.set("stderr", scene.path("err")), &scene);
            scene.stop(&daemon);
            scene.assert_no_leftovers();
        }
    }
}

#[test]
fn a_second_start_says_why_it_is_refused() {
    let scene = Scene::new();
    let start = inheriting(&scene).arg("configure:again").run();
    start
        .assert_ready()
        .assert_says(&["this process has made a start already"]);
}
