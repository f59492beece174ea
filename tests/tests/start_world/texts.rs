//! What is said of a failure, and to whom.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use daemon_harness::{Launch, Scene, bin, errno_text, require};
use daemon_tests::svc::status_of;

use crate::{PROMPT, failed, fifo, rough};

fn deferred(scene: &Scene) -> Launch<'_> {
    scene
        .launch(bin("deferred"))
        .set("pidfile", scene.pidfile())
}

fn chain() -> String {
    format!(
        "cannot serve: cannot listen: {}",
        errno_text(libc::EADDRINUSE)
    )
}

#[test]
fn b4_a_main_loop_that_fails_before_it_is_ready_says_so_in_one_line() {
    let scene = Scene::new();
    let started = deferred(&scene).arg("chain").run();
    failed(&scene, &started, 1, &[]);
    assert_eq!(
        started.stderr,
        format!("deferred: cannot initialize: {}\n", chain())
    );
}

/// It may be a thread that waits for a terminal, or for a lock of its own.
#[test]
fn b4_a_failure_ends_the_service_whoever_holds_a_standard_stream() {
    for stream in ["lock_stdout", "lock_stderr"] {
        let scene = Scene::new();
        let launch = deferred(&scene).set("mode", "foreground");
        let started = launch.args([stream, "drop", "hang"]).run();
        failed(&scene, &started, 1, &[]);
        let is_said = started.stderr.contains("it dropped `Ready`");
        assert_eq!(is_said, stream == "lock_stdout", "{started:?}");
    }
}

#[test]
fn b4_and_afterwards_in_the_log() {
    let scene = Scene::new();
    let log = scene.path("log");
    let gate = fifo(&scene);
    let cat = format!("cat={}", gate.display());
    deferred(&scene)
        .set("stderr", &log)
        .args(["notify", &cat, "chain"])
        .run()
        .assert_ready();
    fs::write(&gate, "").expect("a reader");
    scene.wait_until("its end", || scene.processes().is_empty());
    assert_eq!(
        fs::read_to_string(log).unwrap(),
        format!("deferred: {}\n", chain())
    );
}

#[test]
fn b4_a_long_error_is_cut_visibly() {
    let scene = Scene::new();
    let started = deferred(&scene).arg("long_err=2000").run();
    failed(&scene, &started, 1, &["… [cut at 4000 bytes]"]);
    assert!(started.stderr.len() < 4100);
}

/// A manager's socket, and what it was told.
fn manager(scene: &Scene) -> UnixDatagram {
    let socket = UnixDatagram::bind(scene.path("notify")).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time");
    socket
}

fn told(manager: &UnixDatagram, word: &str) -> String {
    let mut bytes = [0; 8192];
    loop {
        let length = manager
            .recv(&mut bytes)
            .unwrap_or_else(|error| panic!("{word} was not told: {error}"));
        let message = String::from_utf8_lossy(&bytes[..length]);
        if message.contains(word) {
            return message.into_owned();
        }
    }
}

#[test]
fn b5_the_manager_hears_the_number_of_the_systems_error() {
    for mode in ["foreground", "detach"] {
        let scene = Scene::new();
        let manager = manager(&scene);
        let launch = rough(&scene)
            .env("NOTIFY_SOCKET", scene.path("notify"))
            .set("mode", mode);
        let running = launch
            .arg(format!("init:os_error={}", libc::EADDRINUSE))
            .spawn();
        let message = told(&manager, "EXIT_STATUS=1");
        assert!(
            message.contains(&format!("ERRNO={}\n", libc::EADDRINUSE)),
            "{mode}: {message}"
        );
        running.wait().assert_exited(1);
    }
}

#[test]
fn b7_errors_that_panic_are_failures_of_their_hook() {
    for hook in ["configure", "privileged_init", "init"] {
        for (error, says) in [
            ("display_panics", "no words"),
            ("drop_panics", "not dropped"),
        ] {
            let scene = Scene::new();
            let started = rough(&scene).arg(format!("{hook}:{error}")).run();
            failed(
                &scene,
                &started,
                101,
                &[&format!("`{hook}` panicked"), says],
            );
        }
        let scene = Scene::new();
        let started = rough(&scene).arg(format!("{hook}:payload_panics")).run();
        failed(&scene, &started, 101, &[&format!("`{hook}` panicked")]);
    }
}

#[test]
fn b7_escape_sequences_do_not_reach_the_terminal() {
    for hook in ["configure", "init"] {
        let scene = Scene::new();
        let started = rough(&scene).arg(format!("{hook}:escapes")).run();
        failed(
            &scene,
            &started,
            status_of(hook),
            &[r"\u{1b}]0;owned\u{7}\u{1b}[2Jtwo", "\nlines\\u{9b}31m\n"],
        );
        assert!(
            !started
                .stderr
                .contains(|c: char| c.is_control() && c != '\n'),
            "{started:?}"
        );
    }
}

#[test]
fn b7_what_turns_the_direction_of_writing_does_not_reach_the_terminal() {
    for hook in ["configure", "init"] {
        let scene = Scene::new();
        let started = rough(&scene).arg(format!("{hook}:turns")).run();
        failed(
            &scene,
            &started,
            status_of(hook),
            &[r"a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{2028}f\u{2029}g"],
        );
        let shown = rough(&scene)
            .args([&format!("{hook}:status=a\u{202e}b\u{2028}c"), "init:err=no"])
            .run();
        assert!(
            started.stderr.is_ascii() && shown.stderr.is_ascii(),
            "{started:?}{shown:?}"
        );
    }
}

#[test]
fn b7_an_error_that_is_its_own_source_ends() {
    for hook in ["configure", "init"] {
        let scene = Scene::new();
        let started = rough(&scene)
            .arg(format!("{hook}:circular"))
            .limit(PROMPT)
            .run();
        failed(&scene, &started, status_of(hook), &["round and round\n"]);
    }
}

#[test]
fn b7_an_error_without_words_is_said_to_have_none() {
    let scene = Scene::new();
    let started = rough(&scene).arg("init:unsaid").run();
    failed(
        &scene,
        &started,
        1,
        &["cannot initialize: (no reason given)\n"],
    );
}

/// A system log that nobody reads, and that has no room.
#[test]
fn b8_a_log_that_does_not_read_keeps_no_service_alive() {
    require!(root());
    for ending in ["err=no", "payload_panics"] {
        let scene = Scene::new();
        let gate = fifo(&scene);
        let dev = scene.dir("dev", 0o755, None);
        fs::write(dev.join("null"), "").expect("a file");
        let log = UnixDatagram::bind(dev.join("log")).expect("a socket");
        let writer = UnixDatagram::unbound().expect("a socket");
        writer.set_nonblocking(true).expect("a flag");
        while writer.send_to(b"full", dev.join("log")).is_ok() {}
        let there = dev.display();
        let script = format!(
            "mount --bind /dev/null {there}/null && mount --rbind {there} /dev && exec \"$@\""
        );
        let unshare = scene
            .launch("/usr/bin/unshare")
            .args(["--mount", "/bin/sh", "-c", &script, "sh"]);
        let began = Instant::now();
        let launch = unshare.arg(bin("rough")).set("pidfile", scene.pidfile());
        let launch = launch.args([
            format!("main:cat={}", gate.display()),
            format!("main:{ending}"),
        ]);
        launch.run().assert_ready();
        fs::write(&gate, "").expect("a reader");
        scene.wait_until("its end", || scene.processes().is_empty());
        assert!(began.elapsed() < PROMPT);
        drop(log);
    }
}
