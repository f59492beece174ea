//! Reading the configuration again: the command returns when that is done.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use daemon_harness::{PATIENCE, POLLS, Scene, require};
use daemon_rt::control::{Control, Reloaded, Status};
use daemon_tests::ctl::Ctl;
use daemon_tests::svc::{at_barrier, barrier, ready_daemon, service};

#[test]
fn it_returns_when_the_reload_is_done_and_not_before() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = Ctl::new(&scene).with("reloads", &fifo);
    ctl.start();
    for _ in 0..3 {
        let reload = ctl.command("reload").spawn();
        let inside = at_barrier(&scene, &fifo);
        assert!(reload.is_running());
        drop(inside);
        assert_eq!(reload.wait().assert_exited(0).stdout, "ctl reloaded\n");
    }
}

/// One that is asked for while another is under way is another: what it is about may have been
/// written since.
#[test]
fn one_that_is_under_way_does_not_count_for_who_comes_later() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = Ctl::new(&scene).with("reloads", &fifo);
    ctl.start();
    let first = ctl.command("reload").spawn();
    let inside = at_barrier(&scene, &fifo);
    let second = ctl.command("reload").spawn();
    let second_waits = || second.process().sleeps_in(POLLS).is_some();
    scene.wait_until("the second to wait", second_waits);
    drop(inside);
    first.wait().assert_exited(0);
    let inside = at_barrier(&scene, &fifo);
    assert!(second.is_running());
    drop(inside);
    second.wait().assert_exited(0);
}

#[test]
fn one_that_takes_too_long_is_an_error_and_nothing_else() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = Ctl::new(&scene).with("reloads", &fifo);
    let daemon = ctl.start();
    ctl.run("reload --timeout 200ms")
        .assert_exited(1)
        .assert_says(&["it has not answered in time"]);
    ctl.succeeds("status");
    drop(at_barrier(&scene, &fifo));
    let nobody_waits = || {
        OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&fifo)
            .is_err()
    };
    scene.wait_until("the end of that reload", nobody_waits);
    let reload = ctl.command("reload").spawn();
    drop(at_barrier(&scene, &fifo));
    reload.wait().assert_exited(0);
    assert_eq!(scene.daemon().pid(), daemon.pid());
}

#[test]
fn a_service_that_does_not_reload_survives_being_told_to() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    ctl.run("reload")
        .assert_exited(1)
        .assert_says(&["it does not reload: SIGHUP would end it"]);
    assert_eq!(scene.daemon().pid(), daemon.pid());
    ctl.succeeds("status");
}

#[test]
fn a_service_with_a_way_of_its_own_is_told_by_the_signal() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("hangup", scene.path("noted"));
    ctl.start();
    assert_eq!(ctl.succeeds("reload"), "ctl was told to reload\n");
    scene.wait_until("the signal", || {
        fs::read_to_string(scene.path("noted")).is_ok_and(|text| text == "hung up\n")
    });
}

#[test]
fn a_service_without_a_control_socket_is_told_by_the_signal() {
    let scene = Scene::new();
    let log = scene.path("log");
    let daemon = ready_daemon(
        &scene,
        service(&scene).arg("init:reloads").set("stdout", &log),
    );
    assert_eq!(
        Control::new(scene.pidfile()).reload(PATIENCE).unwrap(),
        Reloaded::Requested
    );
    scene.wait_until("the reload", || {
        fs::read_to_string(&log).is_ok_and(|text| text == "reloaded\n")
    });
    assert_eq!(scene.daemon().pid(), daemon.pid());
}

#[test]
fn without_a_control_socket_one_that_the_signal_would_end_does_not_get_it() {
    require!(tool("flock"));
    let scene = Scene::new();
    let script = "echo $$ >$0 && exec flock --no-fork $0 sleep 600";
    let launch = scene.launch("/bin/sh").args(["-c", script]);
    let running = launch.arg(scene.pidfile()).spawn();
    let control = Control::new(scene.pidfile());
    let runs = || matches!(control.status(), Ok(Status::Running { .. }));
    scene.wait_until("the lock", runs);
    let error = control.reload(PATIENCE).unwrap_err();
    assert!(error.to_string().contains("SIGHUP would end it"), "{error}");
    assert!(runs());
    running.process().kill();
}

#[test]
fn one_that_does_not_run_cannot() {
    let scene = Scene::new();
    Ctl::new(&scene)
        .run("reload")
        .assert_exited(1)
        .assert_says(&["it is not running"]);
}

#[test]
fn the_end_of_the_service_is_an_error() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = Ctl::new(&scene).with("reloads", &fifo);
    let daemon = ctl.start();
    let reload = ctl.command("reload").spawn();
    let _inside = at_barrier(&scene, &fifo);
    daemon.kill();
    reload
        .wait()
        .assert_exited(1)
        .assert_says(&["it has ended"]);
}

#[test]
fn waiting_does_not_poll() {
    require!(tool("strace"));
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = Ctl::new(&scene).with("reloads", &fifo);
    ctl.start();
    let reload = ctl.command("reload").strace("calls", &[]).spawn();
    let inside = at_barrier(&scene, &fifo);
    std::thread::sleep(Duration::from_millis(500)); // time in which it could ask
    drop(inside);
    reload.wait();
    let log = fs::read_to_string(scene.path("calls")).unwrap();
    // How many calls it takes to end differs with the C library. Who asks again and again has to
    // wait in between.
    let waits = |line: &&str| {
        ["poll", "nanosleep", "recvmsg", "select"]
            .iter()
            .any(|call| line.contains(call))
    };
    let calls: Vec<_> = log
        .lines()
        .skip_while(|line| !line.contains("sendmsg"))
        .filter(waits)
        .collect();
    assert!(
        !calls.is_empty() && calls.len() < 20,
        "{}",
        calls.join("\n")
    );
}
