//! SIGHUP: log files are opened anew, and what cannot be opened changes nothing.

use std::fs;
use std::path::Path;

use daemon_harness::{Proc, Scene, bin, require};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const NOBODY: u32 = 65534;

/// A detached service with a log, which says there that it has reloaded.
fn start(scene: &Scene, log: &Path, settings: &[&str]) -> Proc {
    let launch = scene
        .launch(bin("svc"))
        .set("stdout", log)
        .set("stderr", log)
        .args(settings);
    launch
        .args(["init:reloads", "init:expect_shutdown"])
        .arg("main:eprintln=up")
        .arg("main:shutdown")
        .run()
        .assert_ready();
    scene.wait_until("the first line", || read(log) == "up\n");
    scene.daemon()
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

#[test]
fn logs_are_opened_anew_before_the_service_reloads() {
    let scene = Scene::new();
    let (log, old) = (scene.path("log"), scene.path("log.1"));
    let daemon = start(&scene, &log, &[]);
    for _ in 0..3 {
        fs::rename(&log, &old).expect("rotated");
        let before = read(&old);
        daemon.signal(libc::SIGHUP);
        scene.wait_until("the new log", || read(&log) == "reloaded\n");
        assert_eq!(read(&old), before, "nothing more in the old one");
        let descriptors = daemon.descriptors();
        assert!(
            [1, 2]
                .iter()
                .all(|number| descriptors[number].target == log),
            "{descriptors:?}"
        );
        assert_eq!(
            descriptors
                .values()
                .filter(|open| open.target == log)
                .count(),
            2
        );
    }
    assert!(scene.stop(&daemon).success());
}

#[test]
fn a_log_that_is_still_there_is_appended_to() {
    let scene = Scene::new();
    let log = scene.path("log");
    let daemon = start(&scene, &log, &[]);
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the line", || read(&log) == "up\nreloaded\n");
    assert!(scene.stop(&daemon).success());
}

#[test]
fn a_log_that_the_services_user_may_not_create_goes_on_where_it_was() {
    require!(root());
    let scene = Scene::new();
    let (log, old) = (scene.path("log"), scene.path("log.1"));
    let daemon = start(&scene, &log, &["user=nobody"]);
    assert_eq!(daemon.status().euid, NOBODY);
    fs::rename(&log, &old).expect("rotated");
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the line", || read(&old).ends_with("reloaded\n"));
    assert!(
        read(&old).contains("going on with the old file"),
        "{}",
        read(&old)
    );
    assert!(!log.exists());
    // Where logrotate creates it (`create 0640 nobody`), it is taken.
    fs::write(&log, "").expect("created");
    std::os::unix::fs::chown(&log, Some(NOBODY), None).expect("chown");
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the new log", || read(&log) == "reloaded\n");
    assert!(scene.stop(&daemon).success());
}

#[test]
fn e38_a_trap_in_the_place_of_a_log_is_not_opened() {
    let scene = Scene::new();
    let (log, old) = (scene.path("log"), scene.path("log.1"));
    let daemon = start(&scene, &log, &[]);
    fs::rename(&log, &old).expect("rotated");
    let victim = scene.file("victim", "");
    let traps: [&dyn Fn(); 3] = [
        &|| std::os::unix::fs::symlink(&victim, &log).expect("a link"),
        &|| mkfifo(&log, Mode::S_IRUSR | Mode::S_IWUSR).expect("a FIFO"),
        &|| fs::hard_link(&victim, &log).expect("a link"),
    ];
    for (number, trap) in traps.iter().enumerate() {
        trap();
        daemon.signal(libc::SIGHUP);
        scene.wait_until("the line", || {
            read(&old).matches("reloaded\n").count() == number + 1
        });
        fs::remove_file(&log).expect("the trap");
    }
    assert_eq!(read(&victim), "");
    assert!(scene.stop(&daemon).success());
}

#[test]
fn until_the_service_asks_for_reloads_sighup_ends_it() {
    let scene = Scene::new();
    scene
        .launch(bin("svc"))
        .set("pidfile", scene.pidfile())
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    daemon.signal(libc::SIGHUP);
    let status = scene.exit_status(&daemon);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGHUP)
    );
    assert!(!scene.pidfile().exists());
}

#[test]
fn a_hundred_requests_end_no_service_and_lose_not_the_last() {
    let scene = Scene::new();
    let log = scene.path("log");
    let daemon = start(&scene, &log, &[]);
    for _ in 0..100 {
        daemon.signal(libc::SIGHUP);
    }
    scene.wait_until("a reload", || read(&log).contains("reloaded\n"));
    fs::rename(&log, scene.path("log.1")).expect("rotated");
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the last", || read(&log).contains("reloaded\n"));
    assert!(scene.stop(&daemon).success());
}
