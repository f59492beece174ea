//! E13 and E14: the terminal, which the daemon neither has nor needs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use daemon_harness::{Proc, Scene, Started, bin};
use daemon_tests::svc::{at_barrier, barrier, ready_daemon, service};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// A terminal that is nobody's controlling one, so that whoever leads a session and opens it would
/// get it: its path, and the other side.
fn free_terminal() -> (PathBuf, OwnedFd) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .expect("a pseudo-terminal");
    grantpt(&master)
        .and_then(|()| unlockpt(&master))
        .expect("a pseudo-terminal");
    (ptsname_r(&master).expect("its name").into(), master.into())
}

/// The daemon leads no session and has no controlling terminal.
fn assert_no_terminal(daemon: &Proc) {
    let stat = daemon.stat();
    assert_eq!((stat.tty_nr, stat.tpgid), (0, -1));
    assert_ne!(stat.session, daemon.pid());
}

#[test]
fn e13_opening_a_terminal_does_not_acquire_it() {
    for hook in ["configure", "privileged_init", "init", "main"] {
        let scene = Scene::new();
        let (terminal, _master) = free_terminal();
        let launch = service(&scene).arg(format!("{hook}:open={}", terminal.display()));
        let daemon = ready_daemon(&scene, launch.arg("main:shutdown"));
        scene.wait_until("the terminal", || daemon.descriptor_of(&terminal).is_some());
        assert_no_terminal(&daemon);
    }
}

#[test]
fn e13_not_even_where_the_starter_has_acquired_it() {
    let scene = Scene::new();
    let (terminal, _master) = free_terminal();
    let launch = service(&scene)
        .arg(format!("configure:open={}", terminal.display()))
        .new_session();
    let daemon = ready_daemon(&scene, launch);
    assert!(daemon.descriptor_of(&terminal).is_some());
    assert_no_terminal(&daemon);
}

#[test]
fn e13_what_the_daemon_starts_does_not_acquire_it_either() {
    let scene = Scene::new();
    let (terminal, _master) = free_terminal();
    let launch = service(&scene).arg(format!(
        "init:spawn=exec sleep 1000 <>{} >&0 2>&0",
        terminal.display()
    ));
    launch.run().assert_ready();
    let child = || {
        scene
            .processes()
            .into_iter()
            .find(|process| process.name().as_deref() == Some("sleep"))
    };
    scene.wait_until("the child", || child().is_some());
    let child = child().unwrap();
    assert_eq!(
        (child.stat().tty_nr, &child.descriptors()[&0].target),
        (0, &terminal)
    );
}

#[test]
fn e13_no_terminal_is_acquired_through_the_pidfile() {
    let scene = Scene::new();
    let (terminal, _master) = free_terminal();
    let started = scene
        .launch(bin("svc"))
        .set("pidfile", &terminal)
        .new_session()
        .run();
    started.assert_exited(92);
    scene.assert_no_leftovers();
}

#[test]
fn e13_the_starters_terminal_is_left() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene).on_terminal());
    assert_no_terminal(&daemon);
    let held = daemon
        .descriptors()
        .into_values()
        .any(|found| found.target == scene.terminal().path());
    assert!(!held, "{:#?}", daemon.descriptors());
}

#[test]
fn e14_keys_typed_after_the_start_do_not_reach_the_daemon() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene).on_terminal());
    for (key, signal) in [("\x03", libc::SIGINT), ("\x1c", libc::SIGQUIT)] {
        // They do reach the job that is in the foreground now.
        let job = scene.launch("/bin/cat").on_terminal().spawn();
        scene.terminal().typed(key);
        job.wait().assert_killed(signal);
        assert!(!daemon.is_gone());
    }
    scene.stop(&daemon);
}

#[test]
fn e14_the_daemon_outlives_its_terminal() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene).on_terminal());
    hang_up(&scene);
    assert_lives(&scene, &daemon);
}

/// It goes on after the hang-up, until it is asked to terminate.
fn assert_lives(scene: &Scene, daemon: &Proc) {
    assert!(!daemon.is_gone());
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    scene.stop(daemon);
    scene.assert_no_leftovers();
}

/// A start whose terminal closes while this hook runs.
fn hang_up_during(scene: &Scene, hook: &str, ignored: Option<i32>) -> Started {
    let barrier = barrier(scene, "barrier");
    let launch = service(scene)
        .arg(format!("{hook}:cat={}", barrier.display()))
        .ignoring(ignored)
        .on_terminal();
    let running = launch.spawn();
    let waiting = at_barrier(scene, &barrier);
    hang_up(scene);
    if ignored.is_some() {
        drop(waiting);
    }
    running.wait()
}

/// Closes the terminal, and waits until the shell has told all of its jobs: it goes from the oldest
/// to the newest.
fn hang_up(scene: &Scene) {
    let newest = scene.launch("/bin/sleep").arg("1000").spawn();
    scene.terminal().hang_up();
    newest.wait().assert_killed(libc::SIGHUP);
}

#[test]
fn e14_a_terminal_that_closes_during_a_hook_ends_the_start() {
    for hook in ["configure", "privileged_init", "init"] {
        let scene = Scene::new();
        hang_up_during(&scene, hook, None).assert_killed(libc::SIGHUP);
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "{hook}");
    }
}

#[test]
fn e14_under_nohup_the_start_goes_on() {
    for hook in ["configure", "privileged_init", "init"] {
        let scene = Scene::new();
        hang_up_during(&scene, hook, Some(libc::SIGHUP)).assert_ready();
        assert_lives(&scene, &scene.daemon());
    }
}

#[test]
fn e14_all_or_nothing_at_any_moment() {
    for moment in (0..16).map(|step| Duration::from_micros(1500 * step)) {
        let scene = Scene::new();
        let running = service(&scene)
            .arg("init:status=half way")
            .arg("init:sleep=4")
            .on_terminal()
            .spawn();
        thread::sleep(moment);
        scene.terminal().hang_up();
        let started = running.wait();
        if started.status.success() {
            assert_lives(&scene, &scene.daemon());
        } else {
            started.assert_killed(libc::SIGHUP);
            scene.assert_no_leftovers();
        }
    }
}

#[test]
fn e14_writing_to_a_closed_terminal_is_no_hindrance() {
    let scene = Scene::new();
    let launch = service(&scene)
        .arg("main:eprintln=text")
        .arg("main:print=text")
        .arg("main:shutdown");
    let daemon = ready_daemon(&scene, launch.on_terminal());
    hang_up(&scene);
    assert_lives(&scene, &daemon);
}
