//! `Daemon::upgrade`: the instances pass their sockets on by a protocol of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use daemon_harness::{Launch, Proc, Scene, Started, bin};
use daemon_rt::control::{Control, Status, Stopped};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::address;

fn upgrading<'s>(scene: &'s Scene, words: &str) -> Launch<'s> {
    let launch = scene.launch(bin("upgrading")).arg(scene.path(""));
    launch.args(words.split_whitespace())
}

fn started(scene: &Scene) -> Proc {
    upgrading(scene, "").run().assert_ready();
    scene.daemon()
}

fn upgraded(scene: &Scene) -> Proc {
    upgrading(scene, "--upgrade").run().assert_ready();
    named(scene)
}

/// The instance that the pidfile names.
fn named(scene: &Scene) -> Proc {
    let pid = scene.pid_in_pidfile().expect("a pid in the pidfile");
    Proc::new(pid).expect("it lives")
}

fn control(scene: &Scene) -> Control {
    Control::new(scene.pidfile())
}

#[track_caller]
fn assert_runs(scene: &Scene, instance: &Proc, old: &[&Proc]) {
    let found = control(scene).status().unwrap();
    let pid = instance.pid().cast_unsigned();
    assert!(
        matches!(found, Status::Running { pid: named, .. } if named == pid),
        "{found:?}"
    );
    assert_eq!(scene.pid_in_pidfile(), Some(instance.pid()));
    let holds = instance.descriptor_of(scene.pidfile()).unwrap().1;
    assert_eq!(holds.flocks(), 1);
    let mut found = control(scene).old_instances().unwrap();
    let mut expected: Vec<u32> = old.iter().map(|old| old.pid().cast_unsigned()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn answer(address: SocketAddr) -> i32 {
    let mut connection = TcpStream::connect(address).unwrap();
    connection
        .set_read_timeout(Some(daemon_harness::PATIENCE))
        .unwrap();
    let mut line = String::new();
    connection.read_to_string(&mut line).unwrap();
    line.trim().parse().expect("a pid")
}

#[track_caller]
fn assert_refused(started: &Started, text: &str) {
    started.assert_exited(1).assert_says(&[text]);
}

#[test]
fn the_new_instance_takes_over_when_it_is_ready_and_no_request_fails() {
    let scene = Scene::new();
    let old = started(&scene);
    let (address, done) = (address(&scene), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                answer(address);
            }
        });
        let mut old = old;
        for _ in 0..5 {
            let new = upgraded(&scene);
            assert_ne!(new.pid(), old.pid());
            assert_runs(&scene, &new, &[&old]);
            // The program's own way to end it.
            old.signal(libc::SIGTERM);
            assert!(scene.exit_status(&old).success());
            assert_runs(&scene, &new, &[]);
            assert_eq!(answer(address), new.pid());
            old = new;
        }
        done.store(true, Ordering::Release);
    });
    control(&scene).stop(daemon_harness::PATIENCE).unwrap();
    assert!(!scene.pidfile().exists());
    fs::remove_file(scene.path("upgrade")).unwrap();
    scene.assert_no_leftovers();
}

#[test]
fn the_old_instance_has_the_pidfile_until_then() {
    let scene = Scene::new();
    let old = started(&scene);
    let gate = scene.path("gate");
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let running = upgrading(&scene, "--upgrade --wait").spawn();
    // Opened when the new instance is in `init`.
    let mut open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    assert_runs(&scene, &old, &[]);
    upgrading(&scene, "").run().assert_exited(80);
    open.write_all(b"go").unwrap();
    drop(open);
    running.wait().assert_ready();
    assert_runs(&scene, &named(&scene), &[&old]);
}

#[test]
fn the_old_instance_keeps_the_pidfile_if_the_new_one_fails() {
    let scene = Scene::new();
    let old = started(&scene);
    let failed = upgrading(&scene, "--upgrade --fail").run();
    assert_refused(&failed, "on purpose");
    assert_runs(&scene, &old, &[]);
    assert_eq!(answer(address(&scene)), old.pid());

    let gate = scene.path("gate");
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    for whom in ["starter", "new instance"] {
        let running = upgrading(&scene, "--upgrade --wait").spawn();
        let open = fs::OpenOptions::new().write(true).open(&gate).unwrap();
        if whom == "starter" {
            running.process().kill();
        } else {
            let starter = running.process().pid();
            let is_new = |one: &Proc| one.pid() != old.pid() && one.pid() != starter;
            let others = scene.processes();
            others.into_iter().find(is_new).expect("it waits").kill();
        }
        assert!(!running.wait().status.success());
        drop(open);
        scene.wait_until("the old instance is alone", || scene.processes().len() == 1);
        assert_runs(&scene, &old, &[]);
    }
    let new = upgraded(&scene);
    assert_runs(&scene, &new, &[&old]);
}

#[test]
fn two_at_once_follow_each_other() {
    let scene = Scene::new();
    let old = started(&scene);
    let both = [(); 2].map(|()| upgrading(&scene, "--upgrade").spawn());
    for one in both {
        one.wait().assert_ready();
    }
    let new = named(&scene);
    let others = scene.processes();
    let others: Vec<&Proc> = others.iter().filter(|one| one.pid() != new.pid()).collect();
    assert_eq!(others.len(), 2);
    assert!(others.iter().any(|one| one.pid() == old.pid()));
    assert_runs(&scene, &new, &others);

    // They have not been told to end.
    let stopped = control(&scene).stop(daemon_harness::PATIENCE).unwrap();
    assert!(matches!(stopped, Stopped::Terminated { .. }));
    assert!(scene.processes().is_empty());
}

#[test]
fn without_a_running_instance_it_is_a_start() {
    let scene = Scene::new();
    let failed = upgrading(&scene, "--upgrade").run();
    assert_refused(&failed, "No such file");
    assert!(!scene.pidfile().exists());
    fs::write(scene.pidfile(), "999999999\n").unwrap();
    upgrading(&scene, "--upgrade").run().assert_exited(1);
    started(&scene);
}

#[test]
fn an_instance_that_cannot_hand_over_is_left_alone() {
    let scene = Scene::new();
    daemon_tests::svc::service(&scene).run().assert_ready();
    let old = scene.daemon();
    let failed = upgrading(&scene, "--upgrade").run();
    assert_refused(&failed, "cannot upgrade");
    failed.assert_says(&["control socket"]);
    assert_runs(&scene, &old, &[]);
    // Nor is one that does not answer.
    let other = Scene::new();
    let old = started(&other);
    old.signal(libc::SIGSTOP);
    let failed = upgrading(&other, "--upgrade").run();
    old.signal(libc::SIGCONT);
    assert_refused(&failed, "cannot upgrade");
    assert_runs(&other, &old, &[]);
}
