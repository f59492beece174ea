//! E22: whose the pidfile is, and who can write it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use daemon_harness::{Launch, Scene, require};
use daemon_tests::svc::service;

use crate::{Home, ORDINARY, content, naming};

/// The mode of a file, its owner and its group.
fn rights(path: impl AsRef<std::path::Path>) -> (u32, u32, u32) {
    let found = fs::metadata(path).expect("a pidfile");
    (found.mode() & 0o7777, found.uid(), found.gid())
}

#[test]
fn e22_the_mode_is_0600_whatever_the_umask() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        let owner = fs::metadata(&home.directory).unwrap().uid();
        for umask in [0, 0o022, 0o077, 0o277, 0o777] {
            home.service(&pidfile)
                .umask(umask)
                .set("umask", "0")
                .run()
                .assert_ready();
            assert_eq!(rights(&pidfile), (0o600, owner, owner), "{umask:o}");
            scene.stop(&scene.daemon());
        }
    }
}

#[test]
fn e22_the_mode_of_an_old_file_is_corrected() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        for mode in [0o644, 0o666, 0o777, 0o4755, 0o400] {
            // As its owner opens it for writing, an ordinary user's file has to be writable by its
            // owner.
            let mode = if home.uid.is_some() {
                mode | 0o200
            } else {
                mode
            };
            fs::write(&pidfile, naming(999_999_999)).unwrap();
            chown(&pidfile, home.uid, home.uid).unwrap();
            fs::set_permissions(&pidfile, fs::Permissions::from_mode(mode)).unwrap();
            home.service(&pidfile).run().assert_ready();
            assert_eq!(rights(&pidfile).0, 0o600, "{mode:o}");
            scene.stop(&scene.daemon());
        }
    }
}

/// What makes a service give root up.
fn drops() -> [fn(Launch<'_>) -> Launch<'_>; 3] {
    [
        |launch| launch.set("user", "nobody"),
        |launch| launch.set("uid", "4711").set("group", "4711"),
        |launch| {
            launch
                .set("user", "nobody")
                .set("group", "root")
                .set("groups", "0")
        },
    ]
}

#[test]
fn e22_the_file_stays_roots_and_the_daemon_cannot_write_it() {
    require!(root());
    for drop_root in drops() {
        let scene = Scene::new();
        let launch =
            drop_root(service(&scene)).arg(format!("init:forge={}", scene.pidfile().display()));
        launch.run().assert_ready();
        let daemon = scene.daemon();
        assert_eq!(rights(scene.pidfile()), (0o600, 0, 0));
        assert_eq!(content(scene.pidfile()), naming(daemon.pid()));
        let (_, descriptor) = daemon.descriptor_of(scene.pidfile()).expect("the lock");
        assert_eq!(
            (descriptor.access(), descriptor.cloexec()),
            (libc::O_RDONLY, true)
        );
        assert_eq!(descriptor.flocks(), 1, "{descriptor:?}");
    }
}

#[test]
fn e22_the_daemon_cannot_open_it_for_writing() {
    require!(root());
    for drop_root in drops() {
        let scene = Scene::new();
        let attempt = format!(
            "init:sh=! echo 1 2>/dev/null >{}",
            scene.pidfile().display()
        );
        drop_root(service(&scene)).arg(attempt).run().assert_ready();
        assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
    }
}

#[test]
fn e22_an_old_file_that_was_given_away_is_replaced() {
    require!(root());
    let scene = Scene::new();
    let pidfile = scene.file("service.pid", naming(1));
    chown(&pidfile, Some(ORDINARY), Some(ORDINARY)).unwrap();
    // Whoever still has it open for writing could forge the pid.
    let open = fs::OpenOptions::new().write(true).open(&pidfile).unwrap();
    service(&scene).run().assert_ready();
    assert_eq!(rights(&pidfile), (0o600, 0, 0));
    assert_ne!(
        open.metadata().unwrap().ino(),
        fs::metadata(&pidfile).unwrap().ino()
    );
    assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
}

#[test]
fn e22_nobody_else_can_block_the_service() {
    require!(root());
    let scene = Scene::new();
    service(&scene).run().assert_ready();
    // Taking the lock needs the right to read, which nobody else has.
    let attempt = scene
        .launch("/bin/cat")
        .arg(scene.pidfile())
        .ordinary(ORDINARY)
        .run();
    attempt.assert_exited(1).assert_says(&["Permission denied"]);
}
