//! The exit statuses where a panic aborts (`panic = "abort"`): nothing unwinds, and the starter's
//! word is the same.

use std::path::PathBuf;
use std::sync::OnceLock;

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::built::built;

use crate::{failed, only_line, ready, stop};

/// A service, built once more so that panics abort.
fn aborting(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let target = bin("keeper")
            .parent()
            .expect("target/debug")
            .with_file_name("panic-abort");
        let target_dir = format!("--target-dir={}", target.display());
        let arguments = ["--config=profile.dev.panic='abort'", &target_dir];
        built("aborting", "aborting", &arguments).with_file_name("")
    });
    directory.join(name)
}

fn service<'s>(scene: &'s Scene, name: &str) -> Launch<'s> {
    scene.launch(aborting(name)).set("pidfile", scene.pidfile())
}

#[test]
fn a_good_start() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let daemon = ready(&scene, &service(&scene, "aborting").run());
    stop(&scene, &daemon);
}

#[test]
fn a_panic_of_each_hook_is_101_and_tells_where() {
    require!(tool("cargo"));
    for hook in ["configure", "privileged_init", "init"] {
        for action in ["panic=what a surprise", "panic_any"] {
            let scene = Scene::new();
            let started = service(&scene, "aborting")
                .arg("configure:print=text")
                .arg(format!("{hook}:{action}"))
                .run();
            failed(&scene, &started, 101);
            assert_eq!(started.stdout, "text");
            started.assert_says(&[&format!("`{hook}` panicked at tests/aborting/src/lib.rs:")]);
        }
    }
}

#[test]
fn what_init_has_started_ends_with_it() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let launch = service(&scene, "aborting")
        .arg("init:fork")
        .arg("init:spawn=exec setsid sleep 1000");
    let started = launch.arg("init:panic=what a surprise").run();
    failed(&scene, &started, 101);
    assert!(
        only_line(&started).ends_with(": what a surprise"),
        "{started:?}"
    );
}

#[test]
fn a_main_loop_that_panics_before_it_is_ready_is_101() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let started = service(&scene, "aborting-deferred")
        .arg("main:panic=what a surprise")
        .run();
    failed(&scene, &started, 101);
    assert!(
        only_line(&started).ends_with(": what a surprise"),
        "{started:?}"
    );
}

#[test]
fn a_thread_that_panics_during_the_start_kills_the_daemon() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let started = service(&scene, "aborting")
        .arg("init:panicking_thread")
        .arg("init:hang")
        .run();
    failed(&scene, &started, 134);
}

#[test]
fn a_last_word_that_panics_kills_the_starter_alone() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let started = service(&scene, "aborting")
        .arg("started:panic=what a surprise")
        .run();
    started
        .assert_killed(libc::SIGABRT)
        .assert_says(&["panicked at tests/aborting/src/lib.rs:", "what a surprise"]);
    let daemon = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    stop(&scene, &daemon);
}

#[test]
fn a_main_loop_that_panics_later_says_so_in_the_log() {
    require!(tool("cargo"));
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene, "aborting")
        .set("stderr", &log)
        .arg("main:sleep=100")
        .arg("main:panic=what a surprise");
    launch.run().assert_ready();
    scene.wait_until("its end", || scene.processes().is_empty());
    assert_eq!(
        std::fs::read_to_string(log)
            .unwrap()
            .matches("what a surprise")
            .count(),
        1
    );
    scene.assert_no_leftovers();
}
