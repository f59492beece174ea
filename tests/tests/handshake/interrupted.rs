//! E04 and rule 10: a starter that is interrupted ends what it has begun; one that is killed, or
//! suspended, leaves the daemon to itself.

use std::os::unix::process::ExitStatusExt;

use daemon_harness::{Launch, Proc, Running, Scene, Started, bin, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Barrier, PROMPT, failed, half_started, nothing_left, only_line, ready, service, stop};

/// The signals by which a person ends what runs.
const INTERRUPTIONS: [(i32, &str); 4] = [
    (libc::SIGINT, "SIGINT"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGQUIT, "SIGQUIT"),
];

/// A start that has come to a barrier in this hook.
fn waiting<'s>(barrier: &Barrier<'s>, hook: &str, launch: Launch<'s>) -> Running<'s> {
    let running = launch.args(barrier.at(hook)).spawn();
    barrier.await_hook();
    running
}

#[test]
fn e04_an_interrupted_starter_ends_the_daemon_and_dies_by_the_signal() {
    for hook in ["privileged_init", "init"] {
        for (signal, name) in INTERRUPTIONS {
            let scene = Scene::new();
            let barrier = Barrier::new(&scene);
            let launch = service(&scene)
                .arg("privileged_init:spawn=setsid sleep 1000")
                .arg("privileged_init:fork");
            let running = waiting(&barrier, hook, launch);
            running.signal(signal);
            let started = running.wait();
            started.assert_killed(signal);
            assert_eq!(
                only_line(&started),
                format!("svc: interrupted by {name} before the daemon was ready")
            );
            nothing_left(&scene, &started);
        }
    }
}

#[test]
fn e04_a_starter_interrupted_in_configure_has_done_nothing_yet() {
    for (signal, _) in INTERRUPTIONS {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let running = waiting(&barrier, "configure", service(&scene));
        running.signal(signal);
        let started = running.wait();
        started.assert_killed(signal);
        nothing_left(&scene, &started);
    }
}

#[test]
fn e04_interrupted_by_everything_at_once() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = waiting(
        &barrier,
        "init",
        service(&scene).arg("init:spawn=exec setsid sleep 1000"),
    );
    // Stopped, it finds all of them pending when it goes on.
    running.signal(libc::SIGSTOP);
    for (signal, _) in INTERRUPTIONS {
        running.signal(signal);
    }
    running.signal(libc::SIGCONT);
    let started = running.wait();
    let by = started.status.signal();
    assert!(
        INTERRUPTIONS.iter().any(|&(signal, _)| by == Some(signal)),
        "{started:?}"
    );
    nothing_left(&scene, &started);
}

#[test]
fn e04_impatience_does_not_interrupt_the_cleaning() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let children = (0..50).map(|_| "init:spawn=exec setsid sleep 1000");
    let running = waiting(&barrier, "init", service(&scene).args(children));
    let starter = running.process();
    while !starter.is_gone() {
        for (signal, _) in INTERRUPTIONS {
            // It may just have ended.
            let _ = kill(
                Pid::from_raw(starter.pid()),
                Signal::try_from(signal).unwrap(),
            );
        }
    }
    nothing_left(&scene, &running.wait());
}

#[test]
fn e04_ctrl_c_on_the_terminal() {
    for (key, signal) in [("\x03", libc::SIGINT), ("\x1c", libc::SIGQUIT)] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let running = waiting(&barrier, "init", service(&scene).on_terminal());
        scene.terminal().typed(key);
        let started = running.wait();
        started.assert_killed(signal);
        scene.terminal().wait_for("svc: interrupted by SIG");
        nothing_left(&scene, &started);
    }
}

#[test]
fn e04_what_the_caller_ignores_does_not_interrupt() {
    let ignored = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = waiting(&barrier, "init", service(&scene).ignoring(ignored));
    let daemon = half_started(&scene, &running);
    for signal in ignored {
        running.signal(signal);
    }
    barrier.open();
    let started = running.wait();
    assert_eq!(ready(&scene, &started).pid(), daemon.pid());
    // The daemon itself does not ignore them.
    assert_eq!(daemon.ignored(), [libc::SIGPIPE]);
}

#[test]
fn e04_sigterm_interrupts_even_where_the_caller_ignores_it() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = waiting(
        &barrier,
        "init",
        service(&scene).ignoring_all().blocking_all(),
    );
    running.signal(libc::SIGTERM);
    let started = running.wait();
    started.assert_killed(libc::SIGTERM);
    nothing_left(&scene, &started);
}

/// Starts what comes to the barrier in `init`, and kills the starter there. Returns the daemon, and
/// the starter's end.
fn orphaned(scene: &Scene, barrier: &Barrier<'_>, launch: Launch<'_>) -> (Proc, Started) {
    let running = launch.spawn();
    barrier.await_hook();
    let daemon = half_started(scene, &running);
    running.signal(libc::SIGKILL);
    (daemon, running.wait())
}

#[test]
fn e04_the_daemon_goes_on_without_its_starter() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (daemon, started) = orphaned(&scene, &barrier, service(&scene).args(barrier.at("init")));
    started.assert_killed(libc::SIGKILL);
    assert!(
        started.pipes_closed && started.stderr.is_empty(),
        "{started:?}"
    );
    barrier.open();
    scene.wait_until("the main loop", || daemon.caught().contains(&libc::SIGTERM));
    assert_eq!(
        (scene.daemon().pid(), scene.pid_in_pidfile()),
        (daemon.pid(), Some(daemon.pid()))
    );
    stop(&scene, &daemon);
}

#[test]
fn e04_neither_progress_nor_readiness_kills_a_daemon_without_starter() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let done = scene.path("done");
    let progress = (0..200).map(|_| format!("init:status={}", "x".repeat(400)));
    let launch = service(&scene).args(barrier.at("init")).args(progress);
    let (daemon, _) = orphaned(
        &scene,
        &barrier,
        launch
            .arg(format!("main:note={}:done", done.display()))
            .arg("main:shutdown"),
    );
    barrier.open();
    scene.wait_until("the main loop", || done.exists());
    stop(&scene, &daemon);
}

#[test]
fn e04_a_failure_without_starter_leaves_nothing_either() {
    for (ending, signal) in [
        ("err=no", None),
        ("panic=no", None),
        ("exit=3", None),
        ("kill=15", Some(libc::SIGTERM)),
    ] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let launch = service(&scene)
            .args(barrier.at("init"))
            .arg(format!("init:{ending}"));
        let (daemon, _) = orphaned(&scene, &barrier, launch);
        barrier.open();
        let status = scene.exit_status(&daemon);
        assert!(
            !status.success() && status.signal() == signal,
            "{ending}: {status:?}"
        );
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "{ending}");
    }
}

#[test]
fn e04_while_a_daemon_without_starter_initializes_there_is_no_second() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (daemon, _) = orphaned(&scene, &barrier, service(&scene).args(barrier.at("init")));
    service(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&["already running", &format!("pid {}", daemon.pid())]);
    barrier.open();
}

#[test]
fn a_suspended_starter_does_not_hold_up_the_daemon() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let done = scene.path("done");
    // More progress than any pipe would hold.
    let progress = (0..2000).map(|number| format!("init:status=step {number} {}", "x".repeat(40)));
    let launch = service(&scene).args(barrier.at("init")).args(progress);
    let running = launch
        .arg(format!("main:note={}:done", done.display()))
        .arg("main:shutdown")
        .spawn();
    barrier.await_hook();
    let starter = running.process();
    starter.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || starter.is_suspended());
    barrier.open();
    scene.wait_until("the main loop", || done.exists());
    assert_eq!(starter.stat().state, 'T');
    starter.signal(libc::SIGCONT);
    ready(&scene, &running.wait());
}

#[test]
fn a_suspended_starter_does_not_hold_up_a_failure_either() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let progress = (0..2000).map(|number| format!("init:status=step {number} {}", "x".repeat(40)));
    let launch = service(&scene)
        .args(barrier.at("init"))
        .args(progress)
        .arg("init:long_err=1000");
    let running = launch.spawn();
    barrier.await_hook();
    let daemon = half_started(&scene, &running);
    running.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || running.process().is_suspended());
    barrier.open();
    daemon.wait_gone(PROMPT);
    running.signal(libc::SIGCONT);
    let started = running.wait();
    started.assert_says(&[
        "svc: cannot initialize: line of an error\n",
        "… [cut at 4000 bytes]\n",
    ]);
    failed(&scene, &started, 1);
}

#[test]
fn a_suspended_starter_learns_of_a_failure_when_it_goes_on() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = waiting(&barrier, "init", service(&scene));
    let (starter, daemon) = (running.process(), half_started(&scene, &running));
    starter.signal(libc::SIGSTOP);
    daemon.kill();
    daemon.wait_gone(PROMPT);
    starter.signal(libc::SIGCONT);
    failed(&scene, &running.wait(), 137);
}

#[test]
fn ctrl_z_suspends_the_starter_alone() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = waiting(&barrier, "init", service(&scene).on_terminal());
    let starter = running.process();
    scene.terminal().typed("\x1a");
    scene.wait_until("the stop", || starter.is_suspended());
    barrier.open();
    scene.wait_until("readiness", || {
        half_started(&scene, &running)
            .caught()
            .contains(&libc::SIGTERM)
    });
    starter.signal(libc::SIGCONT);
    ready(&scene, &running.wait());
}

#[test]
fn a_daemon_that_stops_itself_can_be_interrupted() {
    let scene = Scene::new();
    let running = service(&scene).arg("init:kill=19").spawn();
    scene.wait_until("the stop", || {
        scene.processes().iter().any(Proc::is_suspended)
    });
    running.signal(libc::SIGINT);
    let started = running.wait();
    started.assert_killed(libc::SIGINT);
    nothing_left(&scene, &started);
}

#[test]
fn e04_an_ordinary_user_interrupts_too() {
    require!(root());
    let scene = Scene::new();
    let place = scene.dir("run", 0o755, Some(4711));
    let (pidfile, reached) = (place.join("service.pid"), place.join("reached"));
    let launch = scene
        .launch(bin("svc"))
        .set("pidfile", &pidfile)
        .ordinary(4711)
        .arg("init:fork");
    let running = launch
        .arg(format!("init:note={}:here", reached.display()))
        .arg("init:hang")
        .spawn();
    scene.wait_until("init", || reached.exists());
    running.signal(libc::SIGTERM);
    running.wait().assert_killed(libc::SIGTERM);
    scene.assert_no_leftovers();
    assert!(!pidfile.exists());
}
