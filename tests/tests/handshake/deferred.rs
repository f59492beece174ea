//! `defer_ready`: the start is over when the main loop says so, and the starter's word is as true
//! as ever.

use daemon_harness::{Launch, Scene, Started, bin};

use crate::{Barrier, failed, nothing_left, only_line, ready, stop};

/// The service that says itself when it is ready; it does this, and then waits for the termination
/// request.
fn deferred<'s>(scene: &'s Scene, actions: &[&str]) -> Launch<'s> {
    scene
        .launch(bin("deferred"))
        .set("pidfile", scene.pidfile())
        .args(actions)
        .arg("shutdown")
}

/// A start that fails with this status, says this in one line, and leaves nothing.
#[track_caller]
fn fails(actions: &[&str], status: i32, says: &str) -> Started {
    let scene = Scene::new();
    let started = deferred(&scene, actions).run();
    failed(&scene, &started, status);
    assert!(
        only_line(&started).starts_with("deferred: ") && started.stderr.contains(says),
        "{started:?}"
    );
    started
}

#[test]
fn the_start_is_over_when_it_is_notified_and_not_before() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (reached, fifo) = (barrier.reached.display(), barrier.fifo.display());
    let running = deferred(
        &scene,
        &[&format!("note={reached}"), &format!("cat={fifo}"), "notify"],
    )
    .spawn();
    barrier.await_hook();
    assert!(running.is_running());
    deferred(&scene, &["notify"]).run().assert_exited(80);
    barrier.open();
    let daemon = ready(&scene, &running.wait());
    stop(&scene, &daemon);
}

#[test]
fn notified_from_anywhere() {
    for how in [
        "notify",
        "notify_in_thread",
        "notify_later=0",
        "notify_later=100",
    ] {
        let scene = Scene::new();
        let daemon = ready(&scene, &deferred(&scene, &[how]).run());
        stop(&scene, &daemon);
    }
}

#[test]
fn progress_is_shown_until_it_is_notified() {
    let scene = Scene::new();
    let started = deferred(&scene, &["status=binding", "notify", "status=bound"]).run();
    ready(&scene, &started);
    assert_eq!(started.stderr, "deferred: binding\n");
}

#[test]
fn dropped_without_notice_is_a_failed_start() {
    fails(&["drop"], 1, "it dropped `Ready` without calling `notify`");
    fails(
        &["drop_in_thread"],
        1,
        "it dropped `Ready` without calling `notify`",
    );
    fails(
        &["panic_in_thread"],
        1,
        "it dropped `Ready` without calling `notify`",
    );
}

#[test]
fn an_error_before_notice_is_a_failed_start() {
    fails(&["err=the reason"], 1, "the reason");
    // It says more than that `Ready` was dropped.
    fails(&["drop", "err=the reason"], 1, "the reason");
    fails(&["cat=/no/such/file"], 1, "No such file or directory");
}

#[test]
fn a_panic_before_notice_is_a_failed_start() {
    for actions in [
        &["panic=what a surprise"][..],
        &["drop", "panic=what a surprise"],
        &["forget", "panic=what a surprise"],
    ] {
        let started = fails(actions, 101, "what a surprise");
        started.assert_says(&["panicked at tests/src/bin/deferred.rs:"]);
    }
}

#[test]
fn a_return_before_notice_is_a_failed_start() {
    for actions in [&[][..], &["forget"], &["drop"]] {
        let scene = Scene::new();
        let launch = scene
            .launch(bin("deferred"))
            .set("pidfile", scene.pidfile())
            .args(actions);
        let started = launch.run();
        failed(&scene, &started, 1);
        assert!(
            only_line(&started).contains("before it called `Ready::notify`"),
            "{started:?}"
        );
    }
}

#[test]
fn an_exit_or_a_death_before_notice_is_a_failed_start() {
    fails(&["exit=7"], 7, "the daemon exited with status 7");
    fails(&["exit=0"], 96, "the daemon exited with status 0");
    fails(
        &["kill=9"],
        137,
        "the daemon was killed by signal 9 (SIGKILL)",
    );
    fails(
        &["kill=15"],
        143,
        "the daemon was killed by signal 15 (SIGTERM)",
    );
}

#[test]
fn a_pidfile_that_was_removed_before_notice_is_a_failed_start() {
    for how in ["notify", "notify_in_thread", "notify_later=1"] {
        let scene = Scene::new();
        let remove = format!("remove={}", scene.pidfile().display());
        let started = deferred(&scene, &[&remove, how]).run();
        failed(&scene, &started, 92);
        assert!(
            only_line(&started).starts_with("deferred: cannot write the pidfile: "),
            "{started:?}"
        );
    }
}

#[test]
fn never_notified_it_takes_too_long() {
    let scene = Scene::new();
    let started = deferred(&scene, &["start_timeout=300", "forget"]).run();
    failed(&scene, &started, 124);
}

#[test]
fn terminated_before_notice_it_has_failed() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    // It asks for the termination request before it is ready, gets it, and returns as it should.
    let note = format!("note={}", barrier.reached.display());
    let running = deferred(&scene, &[&note]).spawn();
    barrier.await_hook();
    let daemon = scene
        .pid_in_pidfile()
        .and_then(daemon_harness::Proc::new)
        .expect("the daemon");
    scene.wait_until("the handler", || {
        daemon.caught().contains(&libc::SIGTERM) && daemon.stat().state == 'S'
    });
    daemon.signal(libc::SIGTERM);
    let started = running.wait();
    assert!(
        [1, 143].contains(&started.status.code().unwrap()),
        "{started:?}"
    );
    nothing_left(&scene, &started);
}

#[test]
fn an_interruption_before_notice_ends_it() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = deferred(&scene, &[&format!("note={}", barrier.reached.display())]).spawn();
    barrier.await_hook();
    running.signal(libc::SIGINT);
    let started = running.wait();
    started.assert_killed(libc::SIGINT);
    nothing_left(&scene, &started);
}

#[test]
fn after_notice_an_error_is_the_daemons_own() {
    for (action, status) in [("err=no", 1), ("panic=no", 101), ("exit=7", 7)] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let fifo = format!("cat={}", barrier.fifo.display());
        let daemon = ready(&scene, &deferred(&scene, &["notify", &fifo, action]).run());
        barrier.open();
        assert_eq!(scene.exit_status(&daemon).code(), Some(status), "{action}");
        scene.assert_no_leftovers();
    }
}

#[test]
fn in_the_foreground_too() {
    for (action, status) in [("err=no", 1), ("panic=no", 101), ("drop", 1), ("exit=7", 7)] {
        let scene = Scene::new();
        failed(
            &scene,
            &deferred(&scene, &[action])
                .env("DAEMON_MODE", "foreground")
                .run(),
            status,
        );
    }
    let scene = Scene::new();
    let running = deferred(&scene, &["notify", "shutdown"])
        .env("DAEMON_MODE", "foreground")
        .spawn();
    scene.wait_until("the pidfile", || {
        scene.pid_in_pidfile() == Some(running.pid())
    });
    running.signal(libc::SIGTERM);
    let status = running.wait().status;
    assert!(
        status.success() || status.to_string().contains("SIGTERM"),
        "{status}"
    );
}
