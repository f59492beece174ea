//! Which descriptors are closed, taken over or left.

use std::fs;

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::svc::{barrier, named_daemon, refused, started};

use super::{has, inheriting, late};

/// The functions from which the program can start its service.
const PLACES: [&str; 6] = [
    "function", "module", "nested", "method", "library", "builder",
];

#[test]
fn what_the_program_owns_stays_and_what_it_inherited_goes() {
    for place in PLACES {
        let scene = Scene::new();
        let launch = inheriting(&scene)
            .set("place", place)
            .set("before:own", scene.path(""))
            .arg("init:check")
            .arg("main:check");
        let daemon = started(launch, &scene);
        let found = daemon.descriptors();
        assert!(
            !has(&daemon, scene.path("inherited")),
            "{place}: {found:#?}"
        );
        assert!(has(&daemon, scene.path("owned")), "{place}: {found:#?}");
        if place != "library" {
            wait_for_both_checks(&scene);
        }
        scene.stop(&daemon);
        scene.assert_no_leftovers();
    }
}

/// The second is made when the service is ready.
fn wait_for_both_checks(scene: &Scene) {
    scene.wait_until("both checks", || {
        fs::read_to_string(scene.path("owned")).is_ok_and(|text| text.lines().count() == 2)
    });
}

/// The settings of its `main` are evaluated before anything of the start is done.
#[test]
fn a_main_whose_settings_open_descriptors_keeps_them() {
    let scene = Scene::new();
    let file = scene.file("inherited", "");
    let launch = scene.launch(bin("late_main")).descriptor(7, &file);
    let launch = launch
        .env("DIRECTORY", scene.path(""))
        .env("PIDFILE_PATH", scene.pidfile());
    let daemon = started(launch, &scene);
    assert!(has(&daemon, scene.path("owned")));
    assert!(!has(&daemon, &file));
}

#[test]
fn a_number_that_was_inherited_and_is_the_programs_now_stays() {
    let scene = Scene::new();
    let launch = inheriting(&scene)
        .arg("before:close=4")
        .arg("before:close=7")
        .set("before:own", scene.path(""))
        .arg("init:check");
    let daemon = started(launch, &scene);
    assert!(daemon.descriptors().contains_key(&4));
    assert!(!has(&daemon, scene.path("inherited")));
}

#[test]
fn what_the_program_has_taken_over_stays() {
    let scene = Scene::new();
    let daemon = started(inheriting(&scene).arg("before:take_over=63"), &scene);
    let (number, _) = daemon.descriptor_of(scene.path("inherited")).unwrap();
    assert_eq!(number, 63);
    assert!(!daemon.descriptors().contains_key(&64));
}

#[test]
fn configure_takes_over_what_the_settings_keep_if_that_was_inherited() {
    let scene = Scene::new();
    let kept = ["place=builder", "kept=63,", "keep_fd=63,"];
    let daemon = started(inheriting(&scene).args(kept), &scene);
    let (number, descriptor) = daemon.descriptor_of(scene.path("inherited")).unwrap();
    assert!(number == 63 && descriptor.cloexec());
    scene.stop(&daemon);

    // What the program has opened itself has an owner.
    let launch = inheriting(&scene).set("before:own", scene.path(""));
    let launch = launch.args(["place=builder", "kept=3,", "keep_fd=3,", "init:check"]);
    refused(launch, &scene, 78, &["descriptor 3: it was not inherited"]);
}

#[test]
fn what_an_argument_names_is_there_for_configure() {
    let scene = Scene::new();
    let started = inheriting(&scene).arg("configure:cat=/dev/fd/64").run();
    started.assert_ready();
    assert_eq!(started.stdout, "inherited\n");
    assert!(!has(&scene.daemon(), scene.path("inherited")));
}

#[test]
fn in_the_foreground_what_is_inherited_stays_unless_configure_detaches() {
    for (mode, stays) in [("foreground", true), ("detach", false)] {
        let scene = Scene::new();
        let launch = inheriting(&scene)
            .env("DAEMON_MODE", "foreground")
            .set("mode", mode);
        let running = launch.spawn();
        scene.wait_until("the main loop", || scene.pid_in_pidfile().is_some());
        let service = named_daemon(&scene);
        assert_eq!(has(&service, scene.path("inherited")), stays, "{mode}");
        scene.stop(&service);
        drop(running);
    }
}

#[test]
fn descriptors_far_apart_are_found() {
    let scene = Scene::new();
    let file = scene.file("inherited", "");
    let mut launch = late(&scene);
    for number in (3..40).chain([1023, 1024, 5000, 19_999]) {
        launch = launch.descriptor(number, &file);
    }
    let daemon = started(launch, &scene);
    assert!(!has(&daemon, &file), "{:#?}", daemon.descriptors());
}

/// Without /proc nobody tells how many are open, so that it looks as far as the limit goes.
#[test]
fn without_proc_what_is_inherited_is_found_all_the_same() {
    require!(root());
    let scene = Scene::new();
    let launch = inheriting(&scene).without_proc();
    launch.run().assert_ready();
    assert!(!has(&scene.daemon(), scene.path("inherited")));
}

/// Started with the variables of socket activation, and the descriptors 3 and 4.
fn activated(scene: &Scene) -> Launch<'_> {
    let [first, second] = ["first", "second"].map(|name| barrier(scene, name));
    let script = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=first:second exec \"$0\" \"$@\"";
    let launch = scene
        .launch("/bin/sh")
        .args(["-c", script])
        .arg(bin("late"));
    let launch = launch.set("pidfile", scene.pidfile()).arg("init:take");
    launch.descriptor(3, first).descriptor(4, second)
}

#[test]
fn sockets_from_the_manager_are_taken_over() {
    let scene = Scene::new();
    let launch = activated(&scene)
        .env("DAEMON_MODE", "detach")
        .descriptor(7, scene.file("inherited", ""));
    let daemon = started(launch, &scene);
    let found = daemon.descriptors();
    assert_eq!(found[&3].target, scene.path("first"));
    assert_eq!(found[&4].target, scene.path("second"));
    assert!(!has(&daemon, scene.path("inherited")));
}

/// In edition 2021 safe code can set these variables. What they name is the program's own.
#[test]
fn sockets_that_safe_code_speaks_of_are_not_taken_over() {
    for number in ["2", "20"] {
        let scene = Scene::new();
        let launch = late(&scene)
            .set("before:own", scene.path(""))
            .arg(format!("before:set=LISTEN_FDS:{number}"))
            .arg("before:set=LISTEN_PID:$$")
            .env("DAEMON_MODE", "detach")
            .arg("init:check")
            .arg("init:take");
        let start = launch.run();
        start.assert_exited(1).assert_says(&["LISTEN_FDS"]);
        scene.assert_no_leftovers();
    }
}

#[test]
fn a_readiness_descriptor_that_safe_code_speaks_of_is_not_taken_over() {
    let scene = Scene::new();
    let launch = late(&scene)
        .set("before:own", scene.path(""))
        .arg("before:set=DAEMON_NOTIFY_FD:3")
        .env("DAEMON_MODE", "detach")
        .arg("init:check")
        .arg("main:check");
    let start = launch.run();
    start.assert_ready().assert_says(&["DAEMON_NOTIFY_FD 3"]);
    wait_for_both_checks(&scene);
    scene.stop(&scene.daemon());
}

/// A program with a `main` alone notes nothing before it.
#[test]
fn a_program_that_only_has_a_main_pays_nothing() {
    require!(tool("strace"));
    let looks = |program: &str| {
        let scene = Scene::new();
        let launch = scene.launch(bin(program)).set("pidfile", scene.pidfile());
        let traced = ["-e", "trace=%file"];
        launch.strace("calls", &traced).run().assert_ready();
        scene.stop(&scene.daemon());
        scene.wait_until("the end of strace", || !scene.tree().contains("strace"));
        let calls = fs::read_to_string(scene.path("calls")).unwrap();
        calls.contains("\"/proc/self/fd\"")
    };
    assert!(looks("late"));
    assert!(!looks("svc"));
}
