//! What is not a path: open files, the caller's streams, and the words that a setting knows.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use daemon_harness::{Proc, Scene, Stdio};

use daemon_tests::svc::{barrier, service, started};

#[test]
fn what_the_caller_has_there_is_kept() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene)
        .stdout(Stdio::File(log.clone()))
        .stderr(Stdio::File(log.clone()))
        .args(["stdout=keep", "stderr=keep", "init:reloads"])
        .args([
            "init:expect_shutdown",
            "init:print=out\n",
            "main:eprintln=err",
        ]);
    let daemon = started(launch.arg("main:shutdown"), &scene);
    scene.wait_until("both lines", || {
        fs::read_to_string(&log).unwrap() == "out\nerr\n"
    });
    // As a log that a shell has opened in the foreground.
    assert_opened_again(&scene, &daemon, &log);
}

/// Renamed, the log is opened again by its name at a reload.
#[track_caller]
fn assert_opened_again(scene: &Scene, daemon: &Proc, log: &Path) {
    fs::rename(log, scene.path("log.1")).unwrap();
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the new file", || {
        matches!(fs::read_to_string(log).as_deref(), Ok("reloaded\n"))
    });
    scene.stop(daemon);
}

#[test]
fn one_stream_can_be_kept_alone() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene).stderr(Stdio::File(log.clone()));
    let daemon = started(launch.arg("stderr=keep"), &scene);
    let streams = daemon.descriptors();
    assert_eq!(streams[&1].target.to_str(), Some("/dev/null"));
    assert_eq!(streams[&2].target, log);
}

/// Whatever reads it gets the last words, and then the end.
#[test]
fn a_fifo_has_all_that_a_service_says_before_it_crashes() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "fifo");
    let reader = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fifo)
        .unwrap();
    let launch = service(&scene)
        .set("stdout_file", &fifo)
        .set("stderr_file", &fifo)
        .args(["init:print=out\n", "init:expect_shutdown", "main:shutdown"])
        .args(["main:eprintln=last words", "main:abort"]);
    let daemon = started(launch, &scene);
    daemon.signal(libc::SIGTERM);
    scene.exit_status(&daemon);
    let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["out", "last words"]);
}

#[test]
fn an_open_log_that_is_renamed_is_opened_again_at_a_reload() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene)
        .set("stdout_file", &log)
        .args(["init:reloads", "init:expect_shutdown"]);
    let daemon = started(launch, &scene);
    assert_opened_again(&scene, &daemon, &log);
}

#[test]
fn a_file_may_have_the_name_of_a_word() {
    for word in ["journal", "keep", "syslog"] {
        let scene = Scene::new();
        let directory = scene.dir("here", 0o755, None);
        let launch = service(&scene)
            .current_dir(&directory)
            .set("stdout", format!("./{word}"))
            .arg("init:print=out\n");
        let daemon = started(launch, &scene);
        assert_eq!(fs::read_to_string(directory.join(word)).unwrap(), "out\n");
        assert_eq!(daemon.descriptors()[&1].target, directory.join(word));
    }
}
