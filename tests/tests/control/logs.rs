//! The service's log: where it is, its end, and what is added to it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use daemon_harness::{Running, Scene, Stdio, require};
use daemon_tests::ctl::Ctl;
use daemon_tests::svc::service;
use serde_json::Value;

/// Lines with these numbers.
fn lines(numbers: std::ops::RangeInclusive<u32>) -> String {
    let lines: Vec<String> = numbers.map(|number| format!("line {number}\n")).collect();
    lines.concat()
}

fn append(log: &Path, text: &str) {
    let mut file = File::options().append(true).create(true).open(log).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn it_shows_the_last_lines_whether_the_service_runs_or_not() {
    let scene = Scene::new();
    let log = scene.file("log", lines(1..=20));
    let ctl = Ctl::new(&scene).with("stderr", &log);
    for _ in 0..2 {
        assert_eq!(ctl.succeeds("logs"), lines(11..=20));
        assert_eq!(ctl.succeeds("logs --lines 3"), lines(18..=20));
        assert_eq!(ctl.succeeds("logs -n 100"), lines(1..=20));
        assert_eq!(ctl.succeeds("logs -n 0"), "");
        ctl.run("start");
    }
    ctl.succeeds("stop");
}

#[test]
fn two_files_are_shown_one_after_the_other() {
    let scene = Scene::new();
    let (out, err) = (
        scene.file("out", "said\n"),
        scene.file("err", "complained\n"),
    );
    let ctl = Ctl::new(&scene).with("stdout", &out).with("stderr", &err);
    let shown = ctl.succeeds("logs");
    let place = |text: &str| {
        shown
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {shown}"))
    };
    let order = [
        place("out"),
        place("said"),
        place("err"),
        place("complained"),
    ];
    assert!(order.is_sorted(), "{shown}");
}

/// Waits until it has shown this.
fn wait_for(scene: &Scene, logs: &Running<'_>, text: &str) {
    scene.wait_until(text, || logs.stdout().ends_with(text));
}

#[test]
fn it_follows_over_a_rotation_until_it_is_interrupted() {
    let scene = Scene::new();
    let log = scene.file("log", "");
    let ctl = Ctl::new(&scene)
        .with("stderr", &log)
        .with("reloads", "")
        .with("broken", "no");
    let daemon = ctl.start();
    append(&log, &lines(1..=2));
    let logs = ctl.command("logs --follow --lines 1").spawn();
    wait_for(&scene, &logs, "line 2\n");
    append(&log, "line 3\n");
    wait_for(&scene, &logs, "line 3\n");
    fs::rename(&log, scene.path("log.1")).unwrap();
    // The service opens it again, and says a line.
    daemon.signal(libc::SIGHUP);
    wait_for(&scene, &logs, "ctl: cannot reload: no\n");
    append(&log, "line 4\n");
    wait_for(&scene, &logs, "line 4\n");
    logs.signal(libc::SIGINT);
    logs.wait().assert_killed(libc::SIGINT);
    scene.stop(&daemon);
}

#[test]
fn a_broken_configuration_is_no_hindrance() {
    let scene = Scene::new();
    let log = scene.file("log", "what was wrong\n");
    let ctl = Ctl::new(&scene).with("broken_configuration", "");
    let shown = ctl.with("stderr", &log).run("logs");
    shown.assert_exited(0).assert_says(&["a comma is missing"]);
    assert_eq!(shown.stdout, "what was wrong\n");
    // Where the log would be in that configuration.
    ctl.run("logs")
        .assert_exited(78)
        .assert_says(&["a comma is missing"]);
}

/// It is the caller who has connected it, whatever is set.
#[test]
fn in_the_foreground_it_is_the_log_of_the_process() {
    let scene = Scene::new();
    let (set, log) = (scene.file("set", "old\n"), scene.path("log"));
    append(&log, "new\n");
    let ctl = Ctl::new(&scene).with("stderr", &set);
    let streams = || Stdio::File(log.clone());
    let service = ctl
        .command("run")
        .stdout(streams())
        .stderr(streams())
        .spawn();
    scene.wait_until("the service", || ctl.run("status").status.success());
    assert_eq!(ctl.succeeds("logs"), "new\n");
    service.signal(libc::SIGTERM);
    service.wait().assert_exited(0);
    assert_eq!(ctl.succeeds("logs"), "old\n");
}

#[test]
fn what_a_pipe_has_swallowed_is_not_shown() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("stderr", scene.path("log"));
    let service = ctl.command("run").spawn();
    scene.wait_until("the service", || ctl.run("status").status.success());
    ctl.run("logs")
        .assert_exited(1)
        .assert_says(&["ctl: cannot show the log: standard error goes to pipe:["]);
    service.signal(libc::SIGTERM);
    service.wait().assert_exited(0);
}

#[test]
fn a_service_without_a_log_has_none() {
    // There the system log is shown.
    let has_journal = Path::new("/run/systemd/journal/stdout").exists();
    require!(that(!has_journal, "needs a system without a journal"));
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.run("logs")
        .assert_exited(1)
        .assert_says(&["cannot show the log: it does not run, and no log is set"]);
    ctl.start();
    ctl.run("logs")
        .assert_exited(1)
        .assert_says(&["cannot show the log: standard error goes to /dev/null"]);
    ctl.succeeds("stop");
    ctl.with("stderr", scene.path("nowhere"))
        .run("logs")
        .assert_exited(1);
}

/// One that was removed is still there for the process.
#[test]
fn a_log_that_was_removed_is_shown_through_the_process() {
    let scene = Scene::new();
    let log = scene.path("log");
    // Both streams: it is one file all the same.
    let ctl = Ctl::new(&scene).with("stdout", &log).with("stderr", &log);
    ctl.start();
    append(&log, "removed\n");
    fs::remove_file(&log).unwrap();
    assert_eq!(ctl.succeeds("logs"), "removed\n");
    ctl.succeeds("stop");
}

#[test]
fn a_log_that_has_a_writer_is_shown_through_restarts() {
    let scene = Scene::new();
    let log = scene.path("log");
    let ctl = Ctl::new(&scene)
        .with("stderr", &log)
        .with("log_size", "60")
        .with("reloads", "")
        .with("broken", "why");
    ctl.run("start").assert_ready();
    for _ in 0..3 {
        ctl.run("reload").assert_exited(1);
        ctl.succeeds("restart");
    }
    let last = "ctl: cannot reload: why\n";
    scene.wait_until("the line", || ctl.succeeds("logs").ends_with(last));
    let status: Value = serde_json::from_str(&ctl.succeeds("status --json")).unwrap();
    assert_eq!(status["log"], log.to_str().unwrap());
    assert!(scene.path("log.1").exists(), "{}", scene.tree());
    ctl.succeeds("stop");
    scene.wait_until("the end of the writers", || scene.processes().is_empty());
}

#[test]
fn one_that_was_removed_is_named_and_read() {
    let scene = Scene::new();
    let log = scene.file("log", "line\n");
    let ctl = Ctl::new(&scene).with("stderr", &log);
    ctl.run("start").assert_ready();
    fs::remove_file(&log).unwrap();
    let status: Value = serde_json::from_str(&ctl.succeeds("status --json")).unwrap();
    assert_eq!(status["log"], format!("{} (deleted)", log.display()));
    assert_eq!(status["lines"], serde_json::json!(["line"]));
    assert_eq!(ctl.succeeds("logs"), "line\n");
    ctl.succeeds("stop");
}

/// To open a device has an effect, and root may open any: the service can have a descriptor of one to
/// which it has no right (`O_PATH`).
#[test]
fn no_device_is_opened_to_find_the_log() {
    require!(tool("strace"));
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene).set("stdout", &log).set("log_size", "1000");
    launch.arg("init:stderr_to=/dev/full").run().assert_ready();
    let ctl = Ctl::new(&scene)
        .with("stdout", &log)
        .with("log_size", "1000");
    let status = ctl
        .command("status")
        .strace("calls", &["-y", "-e", "trace=openat"]);
    let status = status.run();
    assert!(
        status
            .assert_exited(0)
            .stdout
            .contains(&log.display().to_string())
    );
    let calls = fs::read_to_string(scene.path("calls")).unwrap();
    let opened = |line: &&str| line.ends_with("</dev/full>") && !line.contains("O_PATH");
    let opened: Vec<&str> = calls.lines().filter(opened).collect();
    assert_eq!(opened, Vec::<&str>::new());
}
