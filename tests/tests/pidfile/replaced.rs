//! E23: the pidfile is removed or replaced, during the start and afterwards.

use std::fs;
use std::path::Path;

use daemon_harness::{Scene, require};
use daemon_tests::svc::{ready_daemon, service};

use crate::{content, naming};

#[test]
fn e23_a_successors_file_is_not_removed() {
    let scene = Scene::new();
    let older = ready_daemon(&scene, service(&scene));
    fs::remove_file(scene.pidfile()).unwrap();
    service(&scene).run().assert_ready();
    let newer = scene
        .processes()
        .into_iter()
        .find(|process| process.pid() != older.pid())
        .unwrap();
    assert_eq!(scene.pid_in_pidfile(), Some(newer.pid()));
    scene.stop(&older);
    assert_eq!(scene.pid_in_pidfile(), Some(newer.pid()));
    service(&scene).run().assert_exited(80);
    scene.stop(&newer);
    assert!(!scene.pidfile().exists());
}

#[test]
fn e23_what_replaced_the_file_is_not_removed() {
    let scene = Scene::new();
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let daemon = ready_daemon(&scene, service(&scene));
        fs::rename(scene.pidfile(), scene.path("moved")).unwrap();
        scene.file("service.pid", "another");
        daemon.signal(signal);
        scene.exit_status(&daemon);
        assert_eq!(content(scene.pidfile()), "another");
        assert_eq!(content(scene.path("moved")), naming(daemon.pid()));
    }
}

#[test]
fn e23_a_directory_in_its_place_is_no_trouble() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene));
    fs::remove_file(scene.pidfile()).unwrap();
    scene.dir("service.pid", 0o755, None);
    scene.stop(&daemon);
    assert!(scene.pidfile().is_dir());
}

#[test]
fn e23_that_the_file_is_gone_is_no_trouble() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene));
    fs::remove_file(scene.pidfile()).unwrap();
    scene.stop(&daemon);
    scene.assert_no_leftovers();
}

/// A stale file to which this happens after the starter has opened it and before it has locked it:
/// as where an older service ends just then.
fn starts_although(happens: impl Fn(&Path)) {
    let scene = Scene::new();
    let pidfile = scene.file("service.pid", naming(999_999_999));
    let running = service(&scene)
        .strace("slow", &["-e", "inject=flock:delay_enter=500000:when=1"])
        .spawn();
    scene.wait_until("the opened file", || {
        running.process().descriptor_of(&pidfile).is_some()
    });
    happens(&pidfile);
    running.wait().assert_ready();
    let daemon = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    service(&scene).run().assert_exited(80);
    scene.stop(&daemon);
    assert!(!pidfile.exists());
}

#[test]
fn e23_removed_between_opening_and_locking() {
    require!(tool("strace"));
    starts_although(|pidfile| fs::remove_file(pidfile).unwrap());
}

#[test]
fn e23_replaced_between_opening_and_locking() {
    require!(tool("strace"));
    starts_although(|pidfile| {
        fs::write(pidfile.with_extension("new"), naming(1)).unwrap();
        fs::rename(pidfile.with_extension("new"), pidfile).unwrap();
    });
}

/// What is done to the pidfile during the start: the start fails.
fn fails_after(action: &str) {
    for hook in ["privileged_init", "init"] {
        let scene = Scene::new();
        let pidfile = scene.pidfile().display().to_string();
        let started = service(&scene)
            .arg(format!("{hook}:{}", action.replace("FILE", &pidfile)))
            .run();
        started
            .assert_exited(92)
            .assert_says(&["cannot write the pidfile", &pidfile]);
        assert!(scene.processes().is_empty());
    }
}

#[test]
fn e23_removed_during_the_start() {
    fails_after("remove=FILE");
}

#[test]
fn e23_replaced_during_the_start() {
    fails_after("sh=cp FILE FILE.new && mv FILE.new FILE");
}

#[test]
fn e23_overwritten_during_the_start() {
    // Readiness means that the pidfile names the service.
    fails_after("sh=echo 1 >FILE");
    fails_after("sh=: >FILE");
}

#[test]
fn the_service_may_write_its_pid_once_more_in_its_own_way() {
    for way in ["printf %s $PPID", "printf ' %s\\r\\n' $PPID"] {
        let scene = Scene::new();
        let action = format!("init:sh={way} >{}", scene.pidfile().display());
        service(&scene).arg(action).run().assert_ready();
        scene.stop(&scene.daemon());
        assert!(!scene.pidfile().exists());
    }
}
