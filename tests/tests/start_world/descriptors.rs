//! Descriptors that a hook, or `main`, has closed or replaced: no byte goes into a file of the
//! service's, and none is closed.

use std::fs;

use daemon_harness::{Launch, Scene, bin};

use crate::{failed, rough};

/// Files of the service's at whatever numbers are free, more than the library ever had.
fn files(scene: &Scene) -> String {
    format!("{}*20", scene.path("data").display())
}

#[track_caller]
fn nothing_written(scene: &Scene) {
    assert_eq!(fs::read_to_string(scene.path("data")).unwrap(), "");
}

fn with_control(launch: Launch<'_>) -> Launch<'_> {
    launch.arg("control_socket=")
}

#[test]
fn b2_all_closed_and_reused_in_a_hook() {
    for hook in ["privileged_init", "init"] {
        for control in [false, true] {
            let scene = Scene::new();
            let launch = rough(&scene).args([
                format!("{hook}:close_all=3"),
                format!("{hook}:open={}", files(&scene)),
            ]);
            let started = if control {
                with_control(launch)
            } else {
                launch
            }
            .run();
            failed(
                &scene,
                &started,
                92,
                &[
                    "exited with status 92",
                    "closed or replaced descriptors of this library",
                    "log",
                ],
            );
            nothing_written(&scene);
        }
    }
}

/// Without a pidfile the pipe is what is lost.
#[test]
fn b2_the_pipe_closed_and_reused() {
    let scene = Scene::new();
    let launch = scene.launch(bin("rough")).args([
        "init:close_all=3".to_owned(),
        format!("init:open={}", files(&scene)),
    ]);
    let started = launch.run();
    failed(
        &scene,
        &started,
        94,
        &["a hook has closed or replaced the pipe to the starter"],
    );
    nothing_written(&scene);
}

#[test]
fn b2_each_number_replaced() {
    for number in 3..10 {
        let scene = Scene::new();
        let log = scene.path("log");
        let data = scene.path("data");
        let place = format!("init:open_as={}>{number}", data.display());
        let started = with_control(rough(&scene))
            .arg(place)
            .set("stderr", &log)
            .run();
        nothing_written(&scene);
        if started.status.success() {
            let daemon = scene.daemon();
            let kept = daemon.descriptors().contains_key(&number);
            assert!(kept, "{number}: its file was closed");
            scene.stop(&daemon);
        } else {
            assert!(
                matches!(started.status.code(), Some(92 | 94)),
                "{number}: {started:?}"
            );
            // To the starter, if the pipe is not what is lost.
            let said = fs::read_to_string(&log).unwrap() + &started.stderr;
            assert!(
                said.contains(&format!(
                    "the service has closed or replaced descriptor {number}"
                )),
                "{said}"
            );
            failed(&scene, &started, started.status.code().unwrap(), &[]);
        }
        nothing_written(&scene);
    }
}

#[test]
fn b2_a_failure_says_nothing_into_the_services_files() {
    let scene = Scene::new();
    let launch = rough(&scene).args([
        "init:close_all=3",
        &format!("init:open={}", files(&scene)),
        "init:status=x",
    ]);
    let started = launch.arg("init:err=no").run();
    failed(&scene, &started, 1, &[]);
    nothing_written(&scene);
}

#[test]
fn b2_a_lock_that_main_has_lost_is_said() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = rough(&scene)
        .set("stderr", &log)
        .args(["main:close_all=3", &format!("main:open={}", files(&scene))]);
    launch.run().assert_ready();
    let daemon = scene.daemon();
    scene.wait_until("the files", || daemon.descriptors().len() >= 20);
    // Another instance can start, and is not harmed by the end of the first.
    scene.wait_until("the lock", || {
        scene.lock_holders(scene.pidfile()).is_empty()
    });
    rough(&scene).run().assert_ready();
    let second = scene.pid_in_pidfile();
    assert!(scene.stop(&daemon).success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("the lock on the pidfile") && said.contains("is lost"),
        "{said}"
    );
    assert_eq!(scene.pid_in_pidfile(), second);
    nothing_written(&scene);
    scene.stop(&scene.daemon());
}
