//! The kinds of daemonize's `Error`, each with the status and the words of a start that fails so
//! here. There a detached child has the error, and the starter's status is 0.

use std::fs::File;

use daemon_harness::{Scene, bin, errno_text, require};
use daemon_tests::svc::refused;
use libc::c_long;
use nix::fcntl::{Flock, FlockArg};

/// Fails unless a start with this setting fails with this status and says this.
#[track_caller]
fn assert_refused(scene: &Scene, setting: (&str, &str), status: i32, words: &[&str]) {
    let (name, value) = setting;
    refused(
        scene.launch(bin("svc")).set(name, value),
        scene,
        status,
        words,
    );
}

/// The same for a system call that fails.
#[track_caller]
fn assert_denied(calls: &[c_long], status: i32, words: &str) {
    let scene = Scene::new();
    let mut launch = scene.launch(bin("svc"));
    for &call in calls {
        launch = launch.denying(call, libc::EPERM);
    }
    let reason = errno_text(libc::EPERM);
    refused(launch, &scene, status, &[words, &reason]);
}

#[test]
fn fork() {
    require!(root());
    assert_denied(daemon_harness::FORKS, 85, "cannot fork");
}

#[test]
fn detach_session() {
    require!(root());
    assert_denied(&[libc::SYS_setsid], 86, "session");
}

#[test]
fn group_and_user_not_found() {
    require!(root());
    let scene = Scene::new();
    assert_refused(&scene, ("group", "nautilus"), 93, &["group nautilus"]);
    assert_refused(&scene, ("user", "nemo"), 93, &["user nemo"]);
}

/// `GroupContainsNul`, `UserContainsNul`: such a name is one that nobody bears.
#[test]
fn group_and_user_contain_nul() {
    require!(root());
    let scene = Scene::new();
    assert_refused(&scene, ("group", r"daemon\0"), 93, &["group daemon"]);
    assert_refused(&scene, ("user", r"nobody\0"), 93, &["user nobody"]);
}

#[test]
fn set_group_and_set_user() {
    require!(root());
    for setting in ["group=daemon", "user=nobody"] {
        let scene = Scene::new();
        let launch = scene.launch(bin("svc")).ordinary(4711).arg(setting);
        refused(launch, &scene, 93, &["cannot drop privileges"]);
    }
}

#[test]
fn change_directory() {
    let scene = Scene::new();
    let reason = errno_text(libc::ENOENT);
    let words = ["cannot change", "/no/such/directory", &reason];
    let setting = ("working_directory", "/no/such/directory");
    assert_refused(&scene, setting, 91, &words);
}

#[test]
fn path_contains_nul() {
    let scene = Scene::new();
    assert_refused(&scene, ("pidfile", r"/run/\0"), 2, &["pidfile"]);
}

/// The others of a pidfile that is opened, changed or written (`ChownPidfile`, `TruncatePidfile`,
/// `WritePid`, …) are the same step.
#[test]
fn open_pidfile() {
    let scene = Scene::new();
    let path = scene.path("nowhere/pid");
    let path = path.to_str().unwrap();
    assert_refused(&scene, ("pidfile", path), 92, &["pidfile", path]);
}

#[test]
fn lock_pidfile() {
    let scene = Scene::new();
    let file = File::create(scene.pidfile()).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let launch = scene.launch(bin("svc")).set("pidfile", scene.pidfile());
    launch
        .run()
        .assert_exited(80)
        .assert_says(&["already running"]);
    drop(lock);
}

/// `OpenDevnull` and `CloseDevnull` are the same step.
#[test]
fn redirect_streams() {
    require!(root());
    let scene = Scene::new();
    let launch = scene.launch(bin("svc")).set("stdout", scene.path("no/log"));
    let reason = errno_text(libc::ENOENT);
    refused(launch, &scene, 89, &["no/log", &reason]);
}

#[test]
fn change_root() {
    require!(root());
    let scene = Scene::new();
    let setting = ("chroot", "/no/such/directory");
    assert_refused(&scene, setting, 93, &["/no/such/directory"]);
}

/// `Wait`, and what is waited for: the daemon's death before it is ready is the starter's status.
#[test]
fn the_child_dies() {
    let scene = Scene::new();
    let launch = scene.launch(bin("svc")).arg("init:kill=9");
    refused(launch, &scene, 137, &["killed by signal 9"]);
}
