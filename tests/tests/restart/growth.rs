//! Three hundred restarts leave the service as small as ten have.

use std::fs;

use daemon_harness::{Proc, Scene};

use crate::{answering, assert_owner};

const FEW: usize = 10;
const MANY: usize = 300;

/// What a service holds.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    descriptors: usize,
    threads: u64,
    environment: usize,
    processes: usize,
    /// In its directory.
    files: usize,
    /// Less the pid.
    pidfile: usize,
}

fn size(scene: &Scene, service: &Proc) -> Size {
    let pidfile = fs::read_to_string(scene.pidfile()).expect("a pidfile");
    Size {
        descriptors: service.descriptors().len(),
        threads: service.status().threads,
        environment: service.environ_bytes().len(),
        processes: scene.processes().len(),
        files: fs::read_dir(scene.path("")).expect("a directory").count(),
        pidfile: pidfile.len() - service.pid().to_string().len(),
    }
}

/// Restarts it so often, and again: the second time nothing grows.
fn assert_grows_no_further(scene: &Scene, restart: impl Fn()) {
    let restart = |times| {
        (0..times).for_each(|_| restart());
        assert_owner(scene)
    };
    let service = restart(FEW);
    // What a restart leaves to a thread takes a moment.
    let mut few = size(scene, &service);
    scene.wait_until("the end of the old instance", || {
        let before = std::mem::replace(&mut few, size(scene, &service));
        few == before && few.processes == 1
    });
    let (memory, service) = (service.anonymous(), restart(MANY - FEW));
    scene.wait_until(&format!("no more than {few:?}"), || {
        size(scene, &service) == few
    });
    let now = service.anonymous();
    // If two callers were once answered at a time: a thread with its arena takes 150.
    assert!(now < memory + 200, "{memory} KiB, then {now} KiB");
    println!("{memory} KiB, then {now} KiB, {few:?}");
}

#[test]
fn three_hundred_restarts_leave_it_as_small_as_ten() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    assert_grows_no_further(&scene, || _ = ctl.run("restart").assert_ready());
}

/// The old instance hands over each time, and goes on.
#[test]
fn three_hundred_restarts_that_fail_leave_it_as_small_as_ten() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    let failing = ctl.with("fail", "");
    assert_grows_no_further(&scene, || _ = failing.run("restart").assert_exited(1));
}
