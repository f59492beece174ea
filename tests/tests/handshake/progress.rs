//! `status()` before readiness: what the person at the terminal sees of it, and rule 10, that
//! nobody waits for it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use daemon_harness::{Launch, Proc, Scene, Stdio};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::{Barrier, failed, ready, service, stop};

/// A thousand messages, of which the starter sees as many as it has time for.
fn thousand() -> impl Iterator<Item = String> {
    (0..1000).map(|number| format!("init:status={number} of 1000 {}", "x".repeat(450)))
}

/// The service, which says this and waits at the barrier.
fn saying<'s>(scene: &'s Scene, barrier: &Barrier<'_>, text: &str) -> Launch<'s> {
    service(scene)
        .arg(format!("init:status={text}"))
        .args(barrier.at("init"))
}

#[test]
fn on_a_pipe_a_line_each() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading").spawn();
    scene.wait_until("the line", || running.stderr() == "svc: loading\n");
    barrier.open();
    let started = running.wait();
    ready(&scene, &started);
    assert_eq!(
        (started.stderr.as_str(), started.stdout.as_str()),
        ("svc: loading\n", "")
    );
}

#[test]
fn on_a_terminal_in_one_line_which_is_gone_at_the_end() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading")
        .arg("init:status=loaded")
        .arg("init:sleep=300")
        .on_terminal()
        .spawn();
    scene.terminal().wait_for("\r\x1b[Ksvc: loading");
    barrier.open();
    running.wait();
    scene.daemon();
    scene
        .terminal()
        .wait_for("\r\x1b[Ksvc: loading\r\x1b[Ksvc: loaded\r\x1b[K");
    assert!(
        scene.terminal().shown().ends_with("\r\x1b[K") && !scene.terminal().shown().contains('\n')
    );
}

#[test]
fn on_a_terminal_an_error_has_a_line_of_its_own() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading")
        .arg("init:err=no")
        .on_terminal()
        .spawn();
    scene.terminal().wait_for("svc: loading");
    barrier.open();
    failed(&scene, &running.wait(), 1);
    scene
        .terminal()
        .wait_for("\r\x1b[Ksvc: loading\r\x1b[Ksvc: cannot initialize: no\r\n");
}

#[test]
fn from_each_hook_and_none_is_missed() {
    for _ in 0..20 {
        let scene = Scene::new();
        let launch = service(&scene)
            .arg("configure:status=first")
            .arg("privileged_init:status=second");
        let launch = launch
            .arg("init:status=third")
            .arg("init:status=fourth")
            .arg("main:status=not shown");
        let started = launch.arg("main:shutdown").run();
        ready(&scene, &started);
        assert_eq!(
            started.stderr,
            "svc: first\nsvc: second\nsvc: third\nsvc: fourth\n"
        );
    }
}

#[test]
fn nothing_in_it_commands_the_terminal() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "a\x1b[2Jb\r\n\x07c\u{9b}31md").spawn();
    scene.wait_until("the line", || running.stderr().ends_with('\n'));
    assert_eq!(running.stderr(), "svc: a [2Jb   c 31md\n");
    barrier.open();
}

#[test]
fn a_long_one_is_cut() {
    for text in ["x".repeat(2000), "ä".repeat(1000)] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let running = saying(&scene, &barrier, &text).spawn();
        scene.wait_until("the line", || running.stderr().ends_with('\n'));
        let shown = running
            .stderr()
            .strip_prefix("svc: ")
            .unwrap()
            .trim_end()
            .to_owned();
        assert!(
            (490..=500).contains(&shown.len()) && text.starts_with(&shown[..400]),
            "{shown}"
        );
        barrier.open();
    }
}

#[test]
fn a_thousand_messages_do_not_delay_the_result() {
    let scene = Scene::new();
    let started = service(&scene).args(thousand()).run();
    ready(&scene, &started);
    assert!(
        started
            .stderr
            .lines()
            .all(|line| line.starts_with("svc: ") && line.contains(" of 1000 xxx"))
    );
    let scene = Scene::new();
    failed(
        &scene,
        &service(&scene).args(thousand()).arg("init:err=no").run(),
        1,
    );
}

#[test]
fn a_terminal_that_is_stopped_delays_nothing() {
    let scene = Scene::new();
    scene.terminal().stop();
    let daemon = ready_unseen(&scene, service(&scene).args(thousand()).on_terminal());
    assert!(!scene.terminal().shown().contains("svc"));
    stop(&scene, &daemon);
}

/// The daemon of a start that succeeds although nobody sees what its starter says.
fn ready_unseen(scene: &Scene, launch: Launch<'_>) -> Proc {
    let started = launch.run();
    assert!(started.status.success(), "{started:?}");
    let daemon = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    daemon
}

#[test]
fn a_terminal_that_is_stopped_while_something_is_shown_delays_nothing() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading")
        .args(thousand())
        .on_terminal()
        .spawn();
    scene.terminal().wait_for("svc: loading");
    scene.terminal().stop();
    barrier.open();
    assert!(running.wait().status.success());
    stop(&scene, &scene.daemon());
}

#[test]
fn a_failure_on_a_stopped_terminal_leaves_nothing_even_before_it_is_seen() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading")
        .arg("init:fork")
        .arg("init:err=no")
        .on_terminal()
        .spawn();
    scene.terminal().wait_for("svc: loading");
    scene.terminal().stop();
    barrier.open();
    // The starter may wait for the person to read on, but alone.
    scene.wait_until("the end of the daemon", || {
        scene.processes().len() <= 1 && !scene.pidfile().exists()
    });
    scene.terminal().resume();
    failed(&scene, &running.wait(), 1);
    scene.terminal().wait_for("svc: cannot initialize: no\r\n");
}

#[test]
fn a_terminal_that_nobody_reads_delays_nothing() {
    let scene = Scene::new();
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .expect("a pseudo-terminal");
    grantpt(&master)
        .and_then(|()| unlockpt(&master))
        .expect("a pseudo-terminal");
    let stderr = Stdio::File(ptsname_r(&master).expect("its name").into());
    // With time for each to be shown, until there is no more room.
    let slowly = thousand().flat_map(|message| [message, "init:sleep=1".to_owned()]);
    let launch = service(&scene).args(slowly).stderr(stderr);
    stop(&scene, &ready_unseen(&scene, launch));
}

#[test]
fn a_pipe_that_nobody_reads_delays_nothing() {
    let scene = Scene::new();
    let (fifo, _unread) = unread(&scene);
    let slowly = thousand().flat_map(|message| [message, "init:sleep=1".to_owned()]);
    let launch = service(&scene).args(slowly).stderr(Stdio::File(fifo));
    stop(&scene, &ready_unseen(&scene, launch));
}

#[test]
fn a_pipe_that_nobody_reads_delays_nothing_in_the_foreground() {
    let scene = Scene::new();
    let (fifo, _unread) = unread(&scene);
    let launch = service(&scene)
        .env("DAEMON_MODE", "foreground")
        .args(thousand())
        .arg("main:exit=9");
    launch.stderr(Stdio::File(fifo)).run().assert_exited(9);
}

/// A pipe, and its end that nobody reads.
fn unread(scene: &Scene) -> (PathBuf, File) {
    let fifo = scene.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let unread = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    (fifo, unread)
}

#[test]
fn a_pipe_that_nobody_reads_any_more_delays_nothing_and_kills_nobody() {
    let scene = Scene::new();
    let fifo = scene.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    let barrier = Barrier::new(&scene);
    let running = saying(&scene, &barrier, "loading")
        .args(thousand())
        .stderr(Stdio::File(fifo))
        .spawn();
    barrier.await_hook();
    drop(reader);
    barrier.open();
    assert!(running.wait().status.success());
    stop(&scene, &scene.daemon());
}

#[test]
fn to_a_full_disk_it_changes_nothing() {
    let scene = Scene::new();
    let launch = service(&scene)
        .args(thousand().take(20))
        .stderr(Stdio::File("/dev/full".into()));
    stop(&scene, &ready_unseen(&scene, launch));
}

#[test]
fn with_stderr_closed_it_goes_nowhere() {
    let scene = Scene::new();
    let file = scene.file("file", "");
    let launch = service(&scene)
        .arg(format!("configure:open={}", file.display()))
        .args(thousand().take(20));
    stop(&scene, &ready_unseen(&scene, launch.stderr(Stdio::Closed)));
    assert_eq!(fs::read_to_string(file).unwrap(), "");
}

#[test]
fn in_the_foreground_it_is_shown_too() {
    let scene = Scene::new();
    let launch = service(&scene)
        .env("DAEMON_MODE", "foreground")
        .arg("init:status=loading")
        .arg("main:status=serving");
    let started = launch.run();
    started.assert_exited(0);
    assert_eq!(started.stderr, "svc: loading\n");
}

#[test]
fn a_last_word_that_nobody_reads_can_be_interrupted() {
    let scene = Scene::new();
    let fifo = scene.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut full = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    for piece in [4096, 1] {
        while full.write(&vec![b'x'; piece]).is_ok() {}
    }
    let running = service(&scene)
        .arg("init:err=no")
        .stderr(Stdio::File(fifo))
        .spawn();
    let process = running.process();
    let is_writing = || process.sleeps_in(&[libc::SYS_write, libc::SYS_writev]) == Some(2);
    scene.wait_until("the message, which has to wait", is_writing);
    running.signal(libc::SIGTERM);
    running.wait().assert_killed(libc::SIGTERM);
    scene.assert_no_leftovers();
}
