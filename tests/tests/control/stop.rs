//! Ending a service: it is asked first, and waited for without asking again and again.

use std::fs;
use std::time::Duration;

use daemon_harness::{PATIENCE, Scene, require};
use daemon_rt::control::{Control, Stopped};
use daemon_tests::ctl::{Ctl, ORDINARY};

use crate::id;

#[test]
fn it_ends_and_takes_its_files_along() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    assert!(ctl.socket().exists());
    assert_eq!(
        ctl.succeeds("stop"),
        format!("ctl stopped: pid {}\n", daemon.pid())
    );
    assert!(scene.exit_status(&daemon).success());
    assert!(!scene.pidfile().exists() && !ctl.socket().exists());
    assert_eq!(ctl.succeeds("stop"), "ctl is not running\n");
    assert_eq!(
        Control::new(scene.pidfile()).stop(PATIENCE).unwrap(),
        Stopped::NotRunning
    );
}

#[test]
fn one_that_is_suspended_ends_as_well() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    daemon.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || daemon.is_suspended());
    ctl.succeeds("status");
    assert_eq!(
        Control::new(scene.pidfile()).stop(PATIENCE).unwrap(),
        Stopped::Terminated {
            pid: id(daemon.pid())
        }
    );
    assert!(scene.exit_status(&daemon).success());
}

#[test]
fn one_that_does_not_want_to_is_killed_and_that_is_said() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("stubborn", "");
    let daemon = ctl.start();
    let stopped = ctl.run("stop --timeout 300ms");
    let said = format!("ctl stopped: pid {}, killed after 300ms\n", daemon.pid());
    assert_eq!(stopped.assert_exited(0).stdout, said);
    assert!(stopped.elapsed >= Duration::from_millis(300));
    // What it could not remove any more, whoever has stopped it does.
    ctl.run("status").assert_exited(3);
    assert!(!scene.pidfile().exists() && !ctl.socket().exists());

    let pid = id(ctl.start().pid());
    assert_eq!(
        Control::new(scene.pidfile()).stop(Duration::ZERO).unwrap(),
        Stopped::Killed { pid }
    );
    let pid = ctl.start().pid();
    let said = format!("ctl stopped: pid {pid}, killed\n");
    assert_eq!(ctl.succeeds("stop --timeout 0s"), said);
}

#[test]
fn no_other_user_can() {
    require!(root());
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    for command in ["stop", "reload", "restart"] {
        ctl.by(ORDINARY)
            .run(command)
            .assert_exited(1)
            .assert_says(&["service.pid", "Permission denied"]);
    }
    assert_eq!(scene.daemon().pid(), daemon.pid());
}

/// Its pidfile may be read by the user as whom it runs, who may not signal root's.
#[test]
fn who_may_read_the_file_may_still_not_signal() {
    require!(root());
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    fs::set_permissions(
        scene.pidfile(),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    // The file says that it runs, to whoever can read it.
    ctl.by(ORDINARY).run("status").assert_exited(0);
    ctl.by(ORDINARY)
        .run("stop")
        .assert_exited(1)
        .assert_says(&["pidfd_send_signal", "Operation not permitted"]);
    assert!(!daemon.is_gone());
}

#[test]
fn two_who_stop_it_at_once_both_succeed() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    for _ in 0..5 {
        ctl.start();
        let both = [ctl.command("stop").spawn(), ctl.command("stop").spawn()];
        for stop in both {
            stop.wait().assert_exited(0);
        }
        scene.assert_no_leftovers();
    }
}

#[test]
fn a_signal_is_sent_to_it_and_to_nobody_if_it_does_not_run() {
    let scene = Scene::new();
    let control = Control::new(scene.pidfile());
    let error = control.signal(libc::SIGUSR1).unwrap_err().to_string();
    assert!(error.contains("is not running"), "{error}");
    let daemon = Ctl::new(&scene).start();
    control.signal(libc::SIGKILL).unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&scene.exit_status(&daemon)),
        Some(libc::SIGKILL)
    );
    assert!(control.signal(libc::SIGUSR1).is_err());
}

/// From the first signal on there are the calls for two waits, whether they take long or not.
#[test]
fn waiting_does_not_poll() {
    require!(tool("strace"));
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("stubborn", "");
    ctl.start();
    ctl.command("stop --timeout 700ms")
        .strace("calls", &[])
        .run();
    let log = fs::read_to_string(scene.path("calls")).unwrap();
    let calls: Vec<_> = log
        .lines()
        .skip_while(|line| !line.contains("pidfd_send_signal"))
        .collect();
    let polls = calls.iter().filter(|call| call.contains("poll(")).count();
    // The last of them remove what it has left.
    assert!(polls == 2 && calls.len() < 80, "{}", calls.join("\n"));
}

#[test]
fn what_a_dead_service_has_left_is_removed() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    daemon.kill();
    daemon.wait_gone(daemon_harness::PATIENCE);
    ctl.run("status").assert_exited(1);
    assert!(ctl.succeeds("stop").contains("is not running"));
    ctl.run("status").assert_exited(3);
    scene.assert_no_leftovers();
    // A number that another process has by now may be another program's.
    scene.file("service.pid", "1\n");
    ctl.succeeds("stop");
    assert_eq!(fs::read_to_string(scene.pidfile()).unwrap(), "1\n");
}

/// It ends by its own limit, which is longer than the usual patience.
#[test]
fn one_that_has_a_limit_of_its_own_is_not_killed_before() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene)
        .with("stubborn", "")
        .with("stop_timeout", "11");
    let daemon = ctl.start();
    let stopped = ctl.succeeds("stop");
    assert_eq!(stopped, format!("ctl stopped: pid {}\n", daemon.pid()));
    assert_eq!(scene.exit_status(&daemon).code(), Some(97));
}

/// The time for its work is longer than the usual patience.
#[test]
fn one_that_finishes_its_work_is_not_killed_before() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene)
        .with("drains", "")
        .with("drain_timeout", "11");
    let daemon = ctl.start();
    let stopped = ctl.succeeds("stop");
    assert_eq!(stopped, format!("ctl stopped: pid {}\n", daemon.pid()));
    assert!(scene.exit_status(&daemon).success());
}

#[test]
fn one_that_finishes_its_work_still_runs_and_a_restart_waits_for_it() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene)
        .with("drains", "")
        .with("drain_timeout", "5");
    let daemon = ctl.start();
    daemon.signal(libc::SIGTERM);
    ctl.run("status").assert_exited(0);
    ctl.run("start").assert_exited(80);
    assert!(!daemon.is_gone());
    ctl.succeeds("restart");
    assert!(scene.exit_status(&daemon).success());
    assert_ne!(scene.pid_in_pidfile(), Some(daemon.pid()));
    ctl.run("status").assert_exited(0);
}
