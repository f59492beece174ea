//! The witnesses of every scene, tested on themselves: a daemon that leaks, a bystander that is
//! hit, and the noise.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

use daemon_harness::{Proc, Scene, bin, require};

/// What the end of a scene says of it, if it is not content.
fn complaint(scene: Scene) -> Option<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| drop(scene)));
    ended.err().map(daemon_harness::text_of)
}

/// The service in the foreground, with its pidfile in the scene.
fn pidfile(scene: &Scene) -> String {
    format!("pidfile={}", scene.pidfile().display())
}

#[test]
fn a_good_start_is_accounted_for() {
    let scene = Scene::new();
    scene
        .launch(bin("svc"))
        .arg(pidfile(&scene))
        .run()
        .assert_ready();
    assert_eq!(complaint(scene), None);
}

#[test]
fn a_daemon_that_a_failed_command_leaves_fails_the_test() {
    let scene = Scene::new();
    let lie = format!(
        "{} {} || exit; exit 1",
        bin("svc").display(),
        pidfile(&scene)
    );
    scene
        .launch("/bin/sh")
        .args(["-c", &lie])
        .run()
        .assert_exited(1);
    let daemon = scene.daemon();
    let said = complaint(scene).expect("a complaint");
    assert!(
        said.contains("1 services of 0 commands that did not fail"),
        "{said}"
    );
    assert!(daemon.is_gone());
}

#[test]
fn a_service_outside_of_the_scene_fails_the_test() {
    let scene = Scene::new();
    let mut escaped = Command::new(bin("svc"));
    escaped
        .arg(pidfile(&scene))
        .env("DAEMON_MODE", "foreground")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let mut escaped = escaped.spawn().expect("a service");
    scene.wait_until("its pidfile", || scene.pid_in_pidfile().is_some());
    let said = complaint(scene);
    escaped.kill().expect("a child");
    escaped.wait().expect("a child");
    let said = said.expect("a complaint");
    assert!(said.contains(&format!("{} (svc)", escaped.id())), "{said}");
}

#[test]
fn a_bystander_that_is_hit_fails_the_test() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let scene = Scene::new();
        let running = scene.launch("/bin/sleep").arg("1000").spawn();
        let keeper = running.process().stat().ppid;
        let neighbours = || {
            let mut all = Proc::descendants(keeper);
            all.retain(|it| it.name().as_deref() == Some("bystander"));
            all
        };
        // They give themselves their names.
        scene.wait_until("two bystanders", || neighbours().len() == 2);
        let neighbours = neighbours();
        let pids: Vec<_> = neighbours.iter().map(Proc::pid).collect();
        // One was forked just before, and one just after. (Numbers may begin again.)
        let order = [pids[0] < running.pid(), running.pid() < pids[1]];
        assert!(order.contains(&true), "{pids:?} {}", running.pid());
        neighbours[0].signal(signal);
        drop(running);
        let said = complaint(scene).expect("a complaint");
        assert!(said.contains("the bystander"), "{said}");
    }
}

/// Of each kind of lock, on inode numbers that the first files of a tmpfs have.
#[test]
fn there_are_locks_on_small_inode_numbers() {
    require!(root());
    let scene = Scene::new();
    scene.wait_until("noise", || {
        let locks = fs::read_to_string("/proc/locks").expect("the locks");
        let held = |kind: &str, inode: u32| {
            let file = format!(":{inode} ");
            locks
                .lines()
                .any(|line| line.contains(&format!(": {kind} ")) && line.contains(&file))
        };
        ["FLOCK", "POSIX", "OFDLCK"]
            .iter()
            .all(|kind| [2, 50, 100].iter().all(|inode| held(kind, *inode)))
    });
}
