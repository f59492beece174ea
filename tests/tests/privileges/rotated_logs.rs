//! Logs of limited size, and the process that writes them.

use std::fs;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Proc, Scene, bin, require};

use daemon_tests::svc::{refused, service};

use crate::as_nobody;

/// The service, with this log for both streams.
pub(crate) fn logging<'s>(scene: &'s Scene, log: &Path, size: u32, keep: u32) -> Launch<'s> {
    service(scene)
        .set("stdout", log)
        .set("stderr", log)
        .set("log_size", size.to_string())
        .set("log_keep", keep.to_string())
}

/// The service and the writer of its log, after a good start.
pub(crate) fn both(scene: &Scene, launch: Launch<'_>) -> (Proc, Proc) {
    launch.run().assert_ready();
    let pid = scene.pid_in_pidfile().expect("a pidfile");
    let mut processes = scene.processes();
    processes.retain(|process| process.pid() != pid);
    assert_eq!(processes.len(), 1, "not one writer:\n{}", scene.tree());
    (Proc::new(pid).expect("the service"), processes.remove(0))
}

pub(crate) fn numbered(log: &Path, number: usize) -> PathBuf {
    format!("{}.{number}", log.display()).into()
}

/// The files of a log that are there, the oldest first.
pub(crate) fn files(log: &Path) -> Vec<String> {
    let mut files = vec![fs::read_to_string(log).expect("a log")];
    while let Ok(older) = fs::read_to_string(numbered(log, files.len())) {
        files.insert(0, older);
    }
    files
}

pub(crate) fn lines(name: &str, count: u32) -> String {
    let lines: Vec<String> = (0..count)
        .map(|number| format!("{name} {number:04}\n"))
        .collect();
    lines.concat()
}

#[test]
fn a_full_log_is_rotated_between_lines_and_no_line_is_lost() {
    let scene = Scene::new();
    let log = scene.path("log");
    let (daemon, writer) = both(
        &scene,
        logging(&scene, &log, 105, 1000).arg("init:lines=500"),
    );
    scene.stop(&daemon);
    scene.exit_status(&writer);
    let all = files(&log);
    assert_eq!(all.concat(), lines("line", 500));
    let (_, full) = all.split_last().expect("files");
    assert!(full.iter().all(|file| file.len() == 100), "{all:?}");
}

#[test]
fn as_many_full_logs_are_kept_as_was_asked_for() {
    let scene = Scene::new();
    let log = scene.path("log");
    let (daemon, writer) = both(&scene, logging(&scene, &log, 100, 2).arg("init:lines=45"));
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert_eq!(files(&log).concat(), lines("line", 45)[200..]);
    assert!(!numbered(&log, 3).exists());
}

#[test]
fn a_line_that_is_longer_than_a_log_stays_whole() {
    let scene = Scene::new();
    let log = scene.path("log");
    let endless = "x".repeat(5000) + "\n";
    let launch = logging(&scene, &log, 100, 9).args([
        "init:print=short\n".to_owned(),
        format!("init:print={endless}"),
    ]);
    let (daemon, writer) = both(&scene, launch.arg("init:print=last\n"));
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert_eq!(files(&log), ["short\n", &endless, "last\n"]);
}

#[test]
fn what_a_service_says_before_it_crashes_is_in_the_log() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = logging(&scene, &log, 1 << 20, 1).args([
        "init:expect_shutdown",
        "main:shutdown",
        "main:lines=1000",
        "main:print=no end of a line",
        "main:eprintln=!",
        "main:abort",
    ]);
    let (daemon, writer) = both(&scene, launch);
    daemon.signal(libc::SIGTERM);
    scene.exit_status(&daemon);
    assert!(scene.exit_status(&writer).success());
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.starts_with(&lines("line", 1000)), "{said}");
    assert!(said.contains("!\n"), "{said}");
}

#[test]
fn why_a_start_failed_is_in_the_log_when_the_starter_ends() {
    for _ in 0..20 {
        let scene = Scene::new();
        let log = scene.path("log");
        let launch = logging(&scene, &log, 1 << 20, 1).args(["init:lines=2000", "init:err=why"]);
        refused(launch, &scene, 1, &["why"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), lines("line", 2000));
    }
}

/// It has nothing of the service but the pipe, and no signal but SIGKILL ends it before the service.
#[test]
fn the_writer_is_no_part_of_the_service() {
    let scene = Scene::new();
    let log = scene.path("log");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (daemon, writer) = both(
        &scene,
        logging(&scene, &log, 1 << 20, 1).hostile().arg(format!(
            "configure:open={}",
            scene.file("held", "").display()
        )),
    );
    drop(listener);
    let open: Vec<_> = writer
        .descriptors()
        .into_values()
        .map(|open| open.target)
        .collect();
    assert_eq!(open.len(), 4, "{open:?}");
    assert!(open[0].to_string_lossy().starts_with("pipe:"), "{open:?}");
    assert_eq!(
        open[1..],
        [Path::new("/dev/null"), Path::new("/dev/null"), &log]
    );
    assert_ne!(writer.stat().session, daemon.stat().session);
    assert!(scene.is_top(&writer) && Proc::descendants(daemon.pid()).is_empty());
    assert_eq!(writer.cwd(), Path::new("/"));
    for signal in [
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
    ] {
        writer.signal(signal);
    }
    scene.stop(&daemon);
    assert!(scene.exit_status(&writer).success());
}

#[test]
fn the_writer_runs_as_the_services_user() {
    require!(root());
    let scene = Scene::new();
    let log = scene.dir("logs", 0o755, Some(crate::NOBODY)).join("log");
    let launch = as_nobody(&scene)
        .set("pidfile", scene.pidfile())
        .set("stdout", &log)
        .set("log_size", "100")
        .arg("init:lines=25");
    let (daemon, writer) = both(&scene, launch);
    assert_eq!(writer.status().ruid, crate::NOBODY);
    assert_eq!(writer.status().capeff, 0);
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert_eq!(files(&log).concat(), lines("line", 25));
}

#[test]
fn a_log_that_the_services_user_cannot_rename_is_refused() {
    require!(root());
    let scene = Scene::new();
    let directory = scene.dir("logs", 0o755, None);
    let log = directory.join("log");
    fs::write(&log, "").unwrap();
    std::os::unix::fs::chown(&log, Some(crate::NOBODY), None).unwrap();
    let launch = as_nobody(&scene)
        .set("pidfile", scene.pidfile())
        .set("stdout", &log)
        .set("log_size", "100");
    let words = [
        "to rotate the log there",
        directory.to_str().unwrap(),
        "Permission denied",
    ];
    refused(launch, &scene, 89, &words);
}

/// As in a restart, where the old instance is still ending.
#[test]
fn two_writers_of_one_log_do_not_rotate_at_the_same_time() {
    let scene = Scene::new();
    let log = scene.path("log");
    let write = |name: &str| {
        scene
            .launch(bin("svc"))
            .set("stdout", &log)
            .set("log_size", "200")
            .set("log_keep", "1000")
            .args([format!("init:lines=400 {name}"), "main:sleep=0".to_owned()])
            .spawn()
    };
    let started = ["one", "two"].map(write);
    for start in started {
        start.wait().assert_ready();
    }
    scene.wait_until("the end of both writers", || scene.processes().is_empty());
    let all = files(&log).concat();
    for name in ["one", "two"] {
        let mut own: Vec<&str> = all.split_inclusive('\n').collect();
        own.retain(|line| line.starts_with(name));
        assert_eq!(own.concat(), lines(name, 400));
    }
    assert_eq!(all.lines().count(), 800);
}

#[test]
fn a_log_that_others_rotate_is_opened_again() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = logging(&scene, &log, 1 << 20, 1).args([
        "init:expect_shutdown",
        "init:print=before\n",
        "main:shutdown",
    ]);
    let (daemon, writer) = both(&scene, launch.arg("main:print=after\n"));
    scene.wait_until("the line", || {
        fs::read_to_string(&log).unwrap() == "before\n"
    });
    fs::rename(&log, scene.path("old")).unwrap();
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert_eq!(fs::read_to_string(&log).unwrap(), "after\n");
}

#[test]
fn a_number_of_logs_without_a_size_is_refused() {
    let scene = Scene::new();
    let launch = |key: &str, value: &str| service(&scene).set(key, value);
    refused(
        launch("log_keep", "3"),
        &scene,
        2,
        &["log_keep", "log_size"],
    );
    refused(launch("log_size", "0"), &scene, 2, &["log_size"]);
    refused(
        launch("log_size", "9").set("log_keep", "0"),
        &scene,
        2,
        &["log_keep"],
    );
}
