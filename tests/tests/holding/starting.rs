//! B6: the service that holds the lock is not ready yet.

use std::path::Path;

use daemon_harness::{Hidden, Namespaces, ProcMount, Scene, require};
use daemon_tests::svc::{at_barrier, barrier};

use crate::{Container, Held};

fn assert_starting(held: &Held<'_>, fifo: &Path) {
    let scene = held.scene;
    let first = held
        .with(&format!("warm_up={}", fifo.display()))
        .command("start")
        .spawn();
    let inside = at_barrier(scene, fifo);
    let pid = std::fs::read_to_string(&held.pidfile).unwrap();
    let pid = pid.trim();
    assert_eq!(
        held.says("status", 4),
        format!("held is starting: pid {pid}\n")
    );
    held.run("start", 80)
        .assert_says(&[&format!("held by pid {pid}, which is still starting\n")]);
    held.run("reload", 1).assert_says(&["it is not ready yet"]);
    drop(inside);
    first.wait().assert_ready();
    assert!(
        held.says("status", 0)
            .starts_with(&format!("held is running: pid {pid}"))
    );
    let second = held.run("start", 80);
    second.assert_says(&[&format!("held by pid {pid}\n")]);
    // One that was handed over says that it is ready as well.
    held.run("restart", 0);
    assert!(held.says("status", 0).starts_with("held is running: pid "));
    held.run("stop", 0);
    assert!(held.processes().is_empty() && !held.is_locked());
}

#[test]
fn b6_one_that_is_starting_says_so() {
    let scene = Scene::new();
    assert_starting(&Held::new(&scene), &barrier(&scene, "warm_up"));
}

#[test]
fn b6_without_a_right_to_look_too() {
    require!(root());
    for proc in [ProcMount::New(Hidden::Nothing), ProcMount::Absent] {
        let scene = Scene::new();
        let container = Container::new(
            &scene,
            Namespaces {
                pids: true,
                proc,
                run_of: None,
                root_is: None,
            },
        );
        let fifo = barrier(&scene, "warm_up");
        std::fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .unwrap();
        assert_starting(
            &Held::new(&scene)
                .with("user=nobody")
                .as_in_docker()
                .inside(&container),
            &fifo,
        );
    }
}

/// It can be ended while it starts.
#[test]
fn b6_one_that_is_starting_is_stopped() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "warm_up");
    let held = Held::new(&scene);
    let first = held
        .with(&format!("warm_up={}", fifo.display()))
        .command("start")
        .spawn();
    let inside = at_barrier(&scene, &fifo);
    held.run("stop", 0);
    drop(inside);
    assert!(!first.wait().status.success());
    assert!(held.processes().is_empty());
    held.run("status", 3);
}
