//! E37, E38: directories that somebody else than root has a hand in, at the times at which root
//! goes into them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::ctl::ORDINARY;

/// The service in this directory as its root.
fn jailed<'s>(scene: &'s Scene, jail: &Path) -> Launch<'s> {
    scene
        .launch(bin("svc"))
        .set("user", "nobody")
        .set("pidfile", scene.pidfile())
        .set("chroot", jail)
}

#[track_caller]
fn refused(scene: &Scene, jail: &Path, why: &str) {
    let started = jailed(scene, jail).run();
    started.assert_exited(93).assert_says(&[
        "cannot drop privileges",
        jail.to_str().expect("UTF-8"),
        why,
    ]);
    scene.assert_no_leftovers();
}

fn owned_by_another(path: PathBuf) -> PathBuf {
    lchown(&path, Some(ORDINARY), Some(ORDINARY)).expect("chown");
    path
}

/// Whoever can exchange the directory could have the service run outside of it.
#[test]
fn e37_root_goes_into_no_directory_that_another_can_exchange() {
    require!(root());
    let scene = Scene::new();
    let jail = scene.dir("jail", 0o755, None);
    let link = |path: PathBuf, to: &Path| {
        symlink(to, &path).expect("a link");
        path
    };
    let open = scene.dir("open", 0o777, None);
    let theirs = scene.dir("theirs", 0o755, Some(ORDINARY));
    refused(
        &scene,
        &scene.dir("open/jail", 0o755, None),
        "can be written by others",
    );
    refused(
        &scene,
        &scene.dir("theirs/jail", 0o755, None),
        "belongs to user id 4711",
    );
    refused(
        &scene,
        &link(open.join("link"), Path::new("/")),
        "can be written by others",
    );
    refused(
        &scene,
        &link(theirs.join("link"), &jail),
        "belongs to user id 4711",
    );
    refused(
        &scene,
        &owned_by_another(link(scene.path("their-link"), &jail)),
        "belongs to user id 4711",
    );
    refused(&scene, &open, "can be written by others");
    refused(&scene, &theirs, "belongs to user id 4711");

    let mine = link(scene.path("my-link"), &jail);
    jailed(&scene, &mine).run().assert_ready();
    assert_eq!(scene.daemon().root(), jail);
}

/// The directory of the log has become another's since the start, and root opens its log anew.
#[test]
fn e38_a_log_is_not_opened_anew_where_another_can_write_by_now() {
    require!(root());
    let scene = Scene::new();
    let directory = scene.dir("log", 0o755, None);
    let (log, old) = (directory.join("log"), directory.join("log.1"));
    let launch = scene
        .launch(bin("svc"))
        .set("stdout", &log)
        .set("stderr", &log);
    launch
        .arg("init:reloads")
        .arg("init:expect_shutdown")
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    let victim = scene.file("victim", "");
    let reload = |times: usize| {
        daemon.signal(libc::SIGHUP);
        let read = || fs::read_to_string(&old).expect("the old log");
        scene.wait_until("the reload", || {
            read().matches("reloaded\n").count() == times
        });
        assert_eq!(
            read().matches("going on with the old file").count(),
            2 * times,
            "one for each stream"
        );
    };
    fs::rename(&log, &old).expect("rotated");

    fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).expect("chmod");
    reload(1);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("chmod");
    chown(&directory, Some(ORDINARY), None).expect("chown");
    reload(2);
    chown(&directory, Some(0), None).expect("chown");
    fs::hard_link(&victim, &log).expect("a link");
    reload(3);
    fs::remove_file(&log).expect("the link");
    fs::create_dir(&log).expect("a directory");
    reload(4);
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "");
    assert_eq!(fs::read_dir(&log).expect("a directory").count(), 0);

    // In peace it is opened, and the old one let go of.
    fs::remove_dir(&log).expect("the directory");
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the new log", || {
        fs::read_to_string(&log).is_ok_and(|text| text == "reloaded\n")
    });
    assert!(daemon.descriptor_of(&old).is_none());
    scene.stop(&daemon);
}
