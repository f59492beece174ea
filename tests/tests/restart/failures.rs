//! What goes wrong in a restart leaves the service with exactly one owner.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;

use daemon_harness::{Proc, Running, Scene, bin, require};
use daemon_tests::svc::{at_barrier, barrier};

use crate::{address, answering, assert_one_owner, assert_owner, new_socket, request};

/// A restart whose new instance is in `init`, and goes on when what this returns last is dropped.
fn half_way(scene: &Scene) -> (Proc, Running<'_>, Proc, fs::File) {
    let ctl = answering(scene);
    let old = ctl.start();
    let fifo = barrier(scene, "warm_up");
    let restart = ctl.with("warm_up", &fifo).command("restart").spawn();
    let inside = at_barrier(scene, &fifo);
    let new = new_instance(scene, &old, &restart);
    assert_eq!(
        (scene.pid_in_pidfile(), request(address(scene)).unwrap()),
        (Some(old.pid()), old.pid())
    );
    (old, restart, new, inside)
}

/// The new instance of a restart that is under way.
fn new_instance(scene: &Scene, old: &Proc, restart: &Running<'_>) -> Proc {
    let others = [old.pid(), restart.pid()];
    // Not the intermediate process, which leads the session, and may only be about to end.
    let is_new = |process: &Proc| {
        !others.contains(&process.pid()) && process.stat().session != process.pid()
    };
    let mut processes = scene.processes().into_iter();
    processes.find(is_new).expect("the new instance")
}

/// Waits until the new instance is ready, and waits for the commit.
fn await_readiness(scene: &Scene, new: &Proc) {
    scene.wait_until("readiness", || new.waits_for_pipe(libc::SYS_read));
}

/// The old one goes on as if nothing had happened, and can be restarted.
#[track_caller]
fn assert_goes_on(scene: &Scene, old: &Proc) {
    assert_eq!(assert_owner(scene).pid(), old.pid());
    answering(scene).run("restart").assert_ready();
    assert_ne!(assert_owner(scene).pid(), old.pid());
}

#[test]
fn if_the_new_one_fails_the_old_one_goes_on() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    for _ in 0..3 {
        ctl.with("fail", "")
            .run("restart")
            .assert_exited(1)
            .assert_says(&["as it was told to"]);
        assert_eq!(assert_owner(&scene).pid(), old.pid());
    }
    assert_goes_on(&scene, &old);
}

#[test]
fn settings_that_are_wrong_are_found_before_anything_happens() {
    require!(root());
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    ctl.with("user", "nobody-of-this-name")
        .run("restart")
        .assert_exited(93);
    assert_goes_on(&scene, &old);
}

/// It is the starter that commits a restart.
#[test]
fn a_restart_that_is_to_stay_in_the_foreground_is_refused() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    ctl.with("mode", "foreground")
        .run("restart")
        .assert_exited(2)
        .assert_says(&["mode: foreground", "a restart detaches"]);
    assert_goes_on(&scene, &old);
}

#[test]
fn if_the_new_one_is_killed_the_old_one_goes_on() {
    let scene = Scene::new();
    let (old, restart, new, inside) = half_way(&scene);
    new.kill();
    restart
        .wait()
        .assert_exited(128 + libc::SIGKILL)
        .assert_says(&["killed by signal 9"]);
    drop(inside);
    assert_goes_on(&scene, &old);
}

#[test]
fn if_the_new_one_is_killed_when_it_is_ready_but_not_committed_the_old_one_goes_on() {
    let scene = Scene::new();
    let (old, restart, new, inside) = half_way(&scene);
    restart.signal(libc::SIGSTOP);
    drop(inside);
    await_readiness(&scene, &new);
    new.kill();
    // That of all its threads: the restarter waits for no less.
    let threads = || fs::read_dir(format!("/proc/{}/task", new.pid())).map_or(0, Iterator::count);
    scene.wait_until("its end", || new.is_gone() && threads() <= 1);
    restart.signal(libc::SIGCONT);
    restart.wait().assert_exited(128 + libc::SIGKILL);
    assert_goes_on(&scene, &old);
}

/// A signal ends it when it is the owner, and has not heard of that yet.
#[test]
fn if_the_new_one_is_ended_when_it_has_just_been_committed_nothing_is_left() {
    let scene = Scene::new();
    let service = || {
        scene
            .launch(bin("announcing"))
            .set("pidfile", scene.pidfile())
            .set("control_socket", "")
            .arg("init:listen")
    };
    service().run().assert_ready();
    let old = scene.daemon();
    let fifo = barrier(&scene, "warm_up");
    let warm_up = format!("init:cat={}", fifo.display());
    let restart = service().set("restart", "10000").arg(warm_up).spawn();
    let inside = at_barrier(&scene, &fifo);
    let new = new_instance(&scene, &old, &restart);
    restart.signal(libc::SIGSTOP);
    drop(inside);
    await_readiness(&scene, &new);
    new.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || new.is_suspended());
    restart.signal(libc::SIGCONT);
    restart.wait().assert_ready();
    assert_eq!(scene.pid_in_pidfile(), Some(new.pid()));
    new.signal(libc::SIGTERM);
    new.signal(libc::SIGCONT);
    assert_eq!(scene.exit_status(&new).signal(), Some(libc::SIGTERM));
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists() && !scene.path("service.pid.control").exists());
}

#[test]
fn if_the_restarter_is_killed_before_the_commit_the_old_one_goes_on() {
    let scene = Scene::new();
    let (old, restart, new, inside) = half_way(&scene);
    restart.signal(libc::SIGKILL);
    restart.wait().assert_killed(libc::SIGKILL);
    assert!(new_socket(&scene).exists());
    drop(inside);
    scene.wait_until("the end of the new one", || new.is_gone());
    assert_goes_on(&scene, &old);
}

#[test]
fn if_the_restarter_is_interrupted_the_old_one_goes_on() {
    let scene = Scene::new();
    let (old, restart, new, _inside) = half_way(&scene);
    restart.signal(libc::SIGINT);
    restart.wait().assert_killed(libc::SIGINT);
    assert!(new.is_gone());
    assert_goes_on(&scene, &old);
}

/// The signal arrives as the call is entered, and the call is not made.
#[test]
fn if_the_restarter_is_killed_at_any_call_there_is_one_owner() {
    require!(tool("strace"));
    // What it was about to do, and whether the new one owns the service then. (The first rename is
    // of what is in place.)
    let moments = [
        ("sendmsg:when=1", false),
        ("recvmsg:when=1", false),
        ("pwrite64:when=1", false),
        ("ftruncate:when=1", true),
        ("rename,renameat,renameat2:when=2", true),
        ("sendmsg:when=2", true),
    ];
    for (moment, committed) in moments {
        let scene = Scene::new();
        let ctl = answering(&scene).with("reloads", "");
        let old = ctl.start();
        // As long as the line of any pid, so that the new one's is shorter.
        let pidfile = OpenOptions::new().write(true).open(scene.pidfile());
        writeln!(pidfile.unwrap(), "{:011}", old.pid()).unwrap();
        let (calls, when) = moment.split_once(':').unwrap();
        let kill = format!("inject={calls}:signal=KILL:{when}");
        let restart = ctl
            .command("restart")
            .strace("calls", &["-e", &kill])
            .spawn();
        restart.wait().assert_killed(libc::SIGKILL);
        let owner = assert_one_owner(&scene);
        assert_eq!(owner.pid() != old.pid(), committed, "killed at {moment}");
        // Whoever it is can be called, wherever its control socket is now, and hands over what it
        // listens on.
        let address = address(&scene);
        assert!(
            ctl.succeeds("reload").contains("reloaded"),
            "killed at {moment}"
        );
        ctl.run("restart").assert_ready();
        assert_eq!(crate::address(&scene), address, "killed at {moment}");
        assert_ne!(assert_owner(&scene).pid(), owner.pid());
    }
}

#[test]
fn if_the_old_one_is_killed_the_new_one_takes_over_all_the_same() {
    let scene = Scene::new();
    let (old, restart, new, inside) = half_way(&scene);
    old.kill();
    scene.exit_status(&old);
    // The lock is not free for a moment.
    answering(&scene).run("start").assert_exited(80);
    drop(inside);
    restart.wait().assert_ready();
    assert_eq!(assert_owner(&scene).pid(), new.pid());
}

#[test]
fn if_the_old_one_is_told_to_end_the_new_one_takes_over_all_the_same() {
    let scene = Scene::new();
    let (old, restart, new, inside) = half_way(&scene);
    old.signal(libc::SIGTERM);
    scene.exit_status(&old);
    drop(inside);
    let restarted = restart.wait();
    if restarted.status.success() {
        assert_eq!(assert_owner(&scene).pid(), new.pid());
    } else {
        scene.assert_no_leftovers();
        answering(&scene).start();
    }
}

/// A new instance that hangs, and whose restarter is gone, keeps nobody from restarting.
#[test]
fn an_abandoned_restart_is_in_nobodys_way() {
    let scene = Scene::new();
    let (old, restart, abandoned, inside) = half_way(&scene);
    restart.signal(libc::SIGKILL);
    restart.wait();
    answering(&scene).run("restart").assert_ready();
    drop(inside);
    scene.wait_until("the end of the abandoned one", || abandoned.is_gone());
    assert_ne!(assert_owner(&scene).pid(), old.pid());
}

/// A reload that never ends does not keep it from being restarted.
#[test]
fn a_reload_that_hangs_is_not_in_the_way() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "reload");
    let ctl = answering(&scene).with("reloads", &fifo);
    ctl.start();
    let reload = ctl.command("reload").spawn();
    let inside = at_barrier(&scene, &fifo);
    ctl.run("restart").assert_ready();
    reload.wait().assert_exited(1);
    drop(inside);
    assert_owner(&scene);
}
