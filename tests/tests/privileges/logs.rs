//! E38 and rule 9: log files, and `/dev/null`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Scene, bin, require};

use daemon_tests::svc::{refused, started};

use crate::{NOBODY, as_nobody, in_namespaces, mode_and_owner};

/// The service, which says a line on each stream.
fn talking(launch: Launch<'_>) -> Launch<'_> {
    launch.arg("init:print=out\n").arg("init:eprintln=err")
}

fn content(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// Both streams must refuse it, with these words.
#[track_caller]
fn refused_as_log(scene: &Scene, path: &Path, words: &[&str]) {
    for stream in ["stdout", "stderr"] {
        let launch = as_nobody(scene)
            .set("pidfile", scene.pidfile())
            .set(stream, path);
        let words: Vec<_> = words
            .iter()
            .copied()
            .chain(["connect the standard streams", path.to_str().unwrap()])
            .collect();
        refused(launch, scene, 89, &words);
    }
}

#[test]
fn a_log_is_created_for_the_services_user() {
    require!(root());
    for umask in ["0", "777"] {
        let scene = Scene::new();
        let (out, err) = (scene.path("out"), scene.path("err"));
        let launch = talking(as_nobody(&scene))
            .hostile()
            .set("stdout", &out)
            .set("stderr", &err);
        let daemon = started(launch.set("umask", umask), &scene);
        assert_eq!(
            (content(&err).as_str(), mode_and_owner(&err)),
            ("err\n", (0o640, NOBODY))
        );
        assert_eq!(mode_and_owner(&out), (0o640, NOBODY));
        let streams = daemon.descriptors();
        assert_eq!((&streams[&1].target, &streams[&2].target), (&out, &err));
        let flags = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK;
        assert!(
            [1, 2]
                .iter()
                .all(|number| streams[number].flags & flags == libc::O_WRONLY | libc::O_APPEND)
        );
    }
}

#[test]
fn what_is_in_a_log_stays() {
    require!(root());
    let scene = Scene::new();
    let log = scene.file("log", "before\n");
    let daemon = started(talking(as_nobody(&scene)).set("stderr", &log), &scene);
    assert_eq!(
        (content(&log).as_str(), mode_and_owner(&log).1),
        ("before\nerr\n", NOBODY)
    );
    fs::write(&log, "").unwrap(); // As logrotate does with `copytruncate`.
    daemon.kill();
    scene.exit_status(&daemon);
    started(talking(as_nobody(&scene)).set("stderr", &log), &scene);
    assert_eq!(content(&log), "err\n");
}

#[test]
fn both_streams_may_go_to_one_file() {
    require!(root());
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = talking(as_nobody(&scene))
        .set("stdout", &log)
        .set("stderr", &log);
    launch
        .arg("main:print=out again\n")
        .arg("main:eprintln=err again")
        .run()
        .assert_ready();
    scene.wait_until("the end", || scene.processes().is_empty());
    let text = content(&log);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "err again", "out", "out again"]);
    assert_eq!(mode_and_owner(&log), (0o640, NOBODY));
}

#[test]
fn a_log_of_root_stays_roots() {
    require!(root());
    let scene = Scene::new();
    started(
        talking(scene.launch(bin("svc"))).set("stderr", scene.path("log")),
        &scene,
    );
    assert_eq!(
        (
            content(scene.path("log")).as_str(),
            mode_and_owner(scene.path("log"))
        ),
        ("err\n", (0o640, 0))
    );
}

#[test]
fn an_ordinary_user_logs_into_its_own_directory() {
    require!(root());
    let scene = Scene::new();
    let log = scene.dir("own", 0o700, Some(4711)).join("log");
    started(
        talking(scene.launch(bin("svc")))
            .ordinary(4711)
            .set("stderr", &log),
        &scene,
    );
    assert_eq!(
        (content(&log).as_str(), mode_and_owner(&log)),
        ("err\n", (0o640, 4711))
    );
    let daemon = scene.daemon();
    daemon.kill();
    scene.exit_status(&daemon);
    let forbidden = scene
        .launch(bin("svc"))
        .ordinary(4711)
        .set("stderr", scene.path("log"));
    refused(forbidden, &scene, 89, &["Permission denied"]);
}

#[test]
fn without_logs_the_streams_lead_nowhere() {
    let scene = Scene::new();
    let daemon = started(talking(scene.launch(bin("svc"))), &scene);
    let streams = daemon.descriptors();
    assert!(
        [0, 1, 2]
            .iter()
            .all(|number| streams[number].target == Path::new("/dev/null"))
    );
}

#[test]
fn e38_a_symbolic_link_is_refused() {
    require!(root());
    let scene = Scene::new();
    let (target, to_file, dangling) = (
        scene.file("target", "old"),
        scene.path("to_file"),
        scene.path("dangling"),
    );
    symlink(&target, &to_file).unwrap();
    symlink(scene.path("new"), &dangling).unwrap();
    refused_as_log(&scene, &to_file, &["symbolic link"]);
    refused_as_log(&scene, &dangling, &["symbolic link"]);
    assert_eq!(
        (content(&target).as_str(), mode_and_owner(&target).1),
        ("old", 0)
    );
    assert!(!scene.path("new").exists());
}

#[test]
fn e38_a_hard_link_is_refused() {
    require!(root());
    let scene = Scene::new();
    let (target, log) = (scene.file("target", "old"), scene.path("log"));
    fs::hard_link(&target, &log).unwrap();
    refused_as_log(&scene, &log, &["hard link"]);
    assert_eq!(
        (content(&target).as_str(), mode_and_owner(&target).1),
        ("old", 0)
    );
}

#[test]
fn e38_a_fifo_is_refused_without_a_hang() {
    require!(root());
    let scene = Scene::new();
    drop(scene.gate("fifo"));
    refused_as_log(&scene, &scene.path("fifo"), &["FIFO"]);
    let mut read = scene.gate("read");
    read.open();
    refused_as_log(&scene, &scene.path("read"), &["FIFO"]);
    assert_eq!(mode_and_owner(scene.path("read")).1, 0);
}

#[test]
fn e38_what_is_no_file_is_refused() {
    require!(root());
    let scene = Scene::new();
    let _socket = UnixListener::bind(scene.path("socket")).unwrap();
    refused_as_log(&scene, &scene.path("socket"), &["socket"]);
    refused_as_log(&scene, &scene.dir("directory", 0o755, None), &["directory"]);
    refused_as_log(&scene, Path::new("/dev/full"), &["device"]);
    refused_as_log(&scene, Path::new("/"), &[]);
    refused_as_log(&scene, &scene.path("missing/log"), &["No such file"]);
    refused_as_log(
        &scene,
        &scene.file("file", "").join("log"),
        &["Not a directory"],
    );
}

#[test]
fn e38_a_directory_that_others_can_write_is_refused() {
    require!(root());
    let scene = Scene::new();
    let in_group = scene.dir("of a group", 0o775, None);
    chown(&in_group, None, Some(4711)).unwrap();
    let directories = [
        scene.dir("of all", 0o777, None),
        scene.dir("sticky", 0o1777, None),
        scene.dir("of another", 0o755, Some(4711)),
        scene.dir("of the service", 0o755, Some(NOBODY)),
        in_group,
    ];
    for directory in directories {
        refused_as_log(
            &scene,
            &directory.join("log"),
            &["directory", directory.to_str().unwrap()],
        );
        assert!(
            fs::read_dir(&directory).unwrap().next().is_none(),
            "something is in {}",
            directory.display()
        );
    }
}

#[test]
fn e38_so_is_one_below_it() {
    require!(root());
    let scene = Scene::new();
    let open = scene.dir("open", 0o777, None);
    let below = scene.dir("open/below", 0o755, None);
    refused_as_log(&scene, &below.join("log"), &[open.to_str().unwrap()]);
    let theirs = scene.path("theirs");
    symlink(scene.dir("mine", 0o755, None), &theirs).unwrap();
    std::os::unix::fs::lchown(&theirs, Some(4711), None).unwrap();
    refused_as_log(&scene, &theirs.join("log"), &[theirs.to_str().unwrap()]);
    assert!(!scene.path("mine/log").exists());
}

#[test]
fn a_link_of_root_on_the_way_is_followed() {
    require!(root());
    let scene = Scene::new();
    symlink(scene.dir("mine", 0o755, None), scene.path("link")).unwrap();
    started(
        talking(as_nobody(&scene)).set("stderr", scene.path("link/log")),
        &scene,
    );
    assert_eq!(content(scene.path("mine/log")), "err\n");
}

#[test]
fn e17_a_relative_path_starts_where_the_person_stood() {
    require!(root());
    let scene = Scene::new();
    let here = scene.dir("here", 0o755, None);
    let launch = talking(as_nobody(&scene))
        .current_dir(&here)
        .set("stderr", "log")
        .set("pidfile", "../service.pid");
    let daemon = started(launch, &scene);
    assert_eq!(
        (content(here.join("log")).as_str(), scene.pid_in_pidfile()),
        ("err\n", Some(daemon.pid()))
    );
}

#[test]
fn dev_null_may_be_named() {
    require!(root());
    let scene = Scene::new();
    let daemon = started(
        talking(as_nobody(&scene))
            .set("stdout", "/dev/null")
            .set("stderr", "/dev/null"),
        &scene,
    );
    let streams = daemon.descriptors();
    assert!(
        [1, 2]
            .iter()
            .all(|number| streams[number].target == Path::new("/dev/null"))
    );
}

/// The service where this lies in the place of `/dev/null`.
fn with_null<'s>(scene: &'s Scene, replace: &str) -> Launch<'s> {
    in_namespaces(scene, &[], replace).set("pidfile", scene.pidfile())
}

#[test]
fn rule9_a_file_in_the_place_of_dev_null_is_refused() {
    require!(root());
    let scene = Scene::new();
    let file = scene.file("null", "");
    let launch = with_null(
        &scene,
        &format!("mount --bind {} /dev/null", file.display()),
    );
    refused(
        launch.arg("init:eprintln=secret"),
        &scene,
        89,
        &["/dev/null"],
    );
    assert_eq!(fs::metadata(&file).unwrap().size(), 0);
}

#[test]
fn rule9_another_device_in_the_place_of_dev_null_is_refused() {
    require!(root());
    let scene = Scene::new();
    refused(
        with_null(&scene, "mount --bind /dev/full /dev/null"),
        &scene,
        89,
        &["/dev/null"],
    );
}

#[test]
fn rule9_no_dev_null_is_a_failure() {
    require!(root());
    let scene = Scene::new();
    let empty: PathBuf = scene.dir("empty", 0o755, None);
    let launch = with_null(&scene, &format!("mount --bind {} /dev", empty.display()));
    refused(launch, &scene, 89, &["/dev/null", "No such file"]);
}

#[test]
fn a_log_keeps_the_mode_that_somebody_gave_it() {
    require!(root());
    let scene = Scene::new();
    let log = scene.file("log", "");
    fs::set_permissions(&log, PermissionsExt::from_mode(0o600)).unwrap();
    started(talking(as_nobody(&scene)).set("stderr", &log), &scene);
    assert_eq!(
        (content(&log).as_str(), mode_and_owner(&log)),
        ("err\n", (0o600, NOBODY))
    );
}
