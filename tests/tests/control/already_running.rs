//! A start that finds the service running, and statuses of a program's own.

use daemon_harness::{Running, Scene, Started};
use daemon_tests::svc::{refused, service, start_in_init};

/// How many at once.
const MANY: usize = 20;

/// Fails unless it has exited with 0 and said nothing.
#[track_caller]
fn assert_silent(done: &Started) {
    done.assert_exited(0);
    assert_eq!((&*done.stdout, &*done.stderr), ("", ""));
}

#[test]
fn one_that_is_ready_is_a_success_without_a_word() {
    let scene = Scene::new();
    let wait = || service(&scene).set("already_running", "wait");
    wait().run().assert_ready();
    let daemon = scene.daemon();
    assert_silent(&wait().run());
    assert_eq!(scene.daemon().pid(), daemon.pid());
    service(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&["already running"]);
}

#[test]
fn one_that_is_starting_is_waited_for() {
    let scene = Scene::new();
    let (starting, inside) = start_in_init(&scene, &[]);
    let waiting: Vec<_> = (0..MANY)
        .map(|_| service(&scene).set("already_running", "wait").spawn())
        .collect();
    scene.wait_until("starts that wait", || scene.processes().len() >= MANY + 2);
    assert!(waiting.iter().all(Running::is_running));
    drop(inside);
    starting.wait().assert_ready();
    for waiting in waiting {
        assert_silent(&waiting.wait());
    }
    scene.daemon();
}

/// And the others wait for that one.
#[test]
fn where_that_one_fails_one_of_those_who_wait_starts() {
    let scene = Scene::new();
    let (failing, inside) = start_in_init(&scene, &["init:err=too bad"]);
    let waiting: Vec<_> = (0..MANY)
        .map(|_| service(&scene).set("already_running", "wait").spawn())
        .collect();
    drop(inside);
    failing.wait().assert_exited(1);
    for waiting in waiting {
        assert_silent(&waiting.wait());
    }
    assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
}

#[test]
fn it_is_waited_for_no_longer_than_start_timeout() {
    let scene = Scene::new();
    let (starting, inside) = start_in_init(&scene, &[]);
    let wait = || service(&scene).set("already_running", "wait");
    wait()
        .set("start_timeout", "300")
        .run()
        .assert_exited(80)
        .assert_says(&["already running", "which is still starting"]);
    // A program may have a status for that.
    wait()
        .set("start_timeout", "300")
        .set("exit_status", "NotReady:75")
        .run()
        .assert_exited(75);
    // A person does not have to wait.
    let waiting = wait().spawn();
    scene.wait_until("a start that waits", || scene.processes().len() == 3);
    waiting.signal(libc::SIGINT);
    waiting.wait().assert_killed(libc::SIGINT);
    drop(inside);
    starting.wait().assert_ready();
}

/// A manager must not take another instance for its own.
#[test]
fn in_the_foreground_it_fails() {
    let scene = Scene::new();
    service(&scene).run().assert_ready();
    service(&scene)
        .set("already_running", "wait")
        .set("mode", "foreground")
        .run()
        .assert_exited(80)
        .assert_says(&["already running"]);
    scene.daemon();
}

#[test]
fn a_program_has_statuses_of_its_own() {
    let scene = Scene::new();
    let own = |kind: &str| service(&scene).set("exit_status", format!("{kind}:70"));
    refused(
        own("InvalidSetting").set("umask", "1777"),
        &scene,
        70,
        &["invalid setting"],
    );
    refused(
        own("Step").set("working_directory", "/nowhere"),
        &scene,
        70,
        &["/nowhere"],
    );
    refused(
        own("TimedOut").set("start_timeout", "200").arg("init:hang"),
        &scene,
        70,
        &["not ready within 200ms"],
    );
    refused(
        own("Socket").arg("init:listen=/nowhere/socket"),
        &scene,
        70,
        &["/nowhere/socket"],
    );
    refused(
        own("Socket").arg("configure:listen=/nowhere/socket"),
        &scene,
        70,
        &["/nowhere/socket"],
    );
    // Another kind keeps the library's.
    refused(
        own("Step").arg("configure:listen=/nowhere/socket"),
        &scene,
        78,
        &["/nowhere/socket"],
    );
    refused(
        own("Socket").arg("init:err=too bad"),
        &scene,
        1,
        &["too bad"],
    );
    // The last counts.
    let twice = own("Step").set("exit_status", "Step:71");
    refused(
        twice.set("working_directory", "/nowhere"),
        &scene,
        71,
        &["/nowhere"],
    );
    own("AlreadyRunning").run().assert_ready();
    own("AlreadyRunning").run().assert_exited(70);
    own("InvalidSetting").run().assert_exited(80);
    scene.daemon();
}
