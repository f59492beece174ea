//! C7: calls that fail around the pidfile, and lists of who may write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use daemon_harness::{Launch, Proc, Scene, errno_text, require, set_access_list};
use nix::sys::resource::Resource;

use crate::{Held, ORDINARY};

/// In the foreground and detached: it fails in step 12, and nothing is left.
#[track_caller]
fn assert_leaves_nothing(surround: impl for<'s> Fn(Launch<'s>) -> Launch<'s>, says: &str) {
    for mode in ["foreground", "detach"] {
        let scene = Scene::new();
        let held = Held::new(&scene);
        let failed = surround(
            held.command("start")
                .env_clear()
                .env("HELD", &held.words)
                .env("DAEMON_MODE", mode),
        )
        .run();
        failed
            .assert_exited(92)
            .assert_says(&["cannot write the pidfile", says]);
        let left: Vec<_> = fs::read_dir(scene.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().starts_with("service.pid")),
            "{mode}: {left:?}"
        );
        assert!(held.processes().is_empty());
    }
}

#[test]
fn c7_a_lock_that_is_refused_leaves_no_file() {
    for errno in [libc::ENOLCK, libc::ENOSYS] {
        assert_leaves_nothing(
            |launch| launch.denying(libc::SYS_flock, errno),
            &errno_text(errno),
        );
    }
}

#[test]
fn c7_a_limit_on_the_size_of_files_leaves_no_file() {
    for limit in [0, 1, 11] {
        assert_leaves_nothing(
            |launch| launch.rlimit(Resource::RLIMIT_FSIZE, limit, limit),
            &errno_text(libc::EFBIG),
        );
    }
}

/// The limit on open files is met at each call that opens one.
#[test]
fn c7_a_limit_on_open_files_leaves_no_file() {
    for limit in 3..16 {
        for mode in ["foreground", "detach"] {
            let scene = Scene::new();
            let held = Held::new(&scene);
            let launch = held.command("start").env("DAEMON_MODE", mode);
            let running = launch.rlimit(Resource::RLIMIT_NOFILE, limit, limit).spawn();
            scene.wait_until("an outcome", || {
                !running.is_running() || held.is_locked() && scene.pid_in_pidfile().is_some()
            });
            // It may be about to fail.
            if let (Some(service), "foreground") = (Proc::new(running.pid()), mode) {
                service.send(libc::SIGTERM);
            }
            let ended = running.wait();
            let left = fs::read_dir(scene.path("")).unwrap().flatten();
            let left: Vec<_> = left
                .filter(|entry| {
                    entry
                        .file_name()
                        .to_string_lossy()
                        .starts_with("service.pid")
                })
                .collect();
            if held.processes().is_empty() {
                assert!(
                    left.is_empty(),
                    "limit {limit}, {mode}: {left:?} after {ended:?}"
                );
            } else {
                held.run("stop", 0);
            }
        }
    }
}

/// As on NFS, where the lock is refused for a file that is open for reading.
#[test]
fn c7_where_the_lock_takes_a_writable_file_it_is_opened_for_writing() {
    require!(tool("strace"));
    let scene = Scene::new();
    let held = Held::new(&scene);
    let launch = held.command("start").strace(
        "calls",
        &["-e", "trace=flock", "-e", "inject=flock:error=EBADF:when=1"],
    );
    launch.run().assert_ready();
    let daemon = held.daemon();
    let (_, lock) = daemon.descriptor_of(&held.pidfile).expect("the lock");
    assert_eq!((lock.access(), lock.flocks()), (libc::O_RDWR, 1));
    held.run("status", 0);
    held.run("stop", 0);
}

/// For root in a directory that the list lets another user write the mode tells nothing: the
/// group's bits are the mask.
#[test]
fn c7_root_refuses_a_directory_that_a_list_lets_others_write() {
    require!(root());
    let scene = Scene::new();
    for (user, group, rights, refused) in [
        (Some(ORDINARY), None, 0o7, true),
        (None, Some(ORDINARY), 0o7, true),
        (Some(ORDINARY), None, 0o5, false),
        (Some(0), None, 0o7, false),
    ] {
        let directory = scene.dir("listed", 0o755, None);
        require!(that(
            set_access_list(&directory, user, group, rights).is_ok(),
            "needs a file system with lists"
        ));
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o775,
            "the mask"
        );
        let held = Held::at(&scene, directory.join("service.pid"));
        if refused {
            let words = format!(
                "the directory {} can be written by others than root",
                directory.display()
            );
            held.run("start", 92).assert_says(&[&words]);
            assert!(!held.pidfile.exists());
            fs::write(&held.pidfile, "1\n").unwrap();
            assert!(held.says("status", 4).contains(&words));
            held.run("stop", 1).assert_says(&[&words]);
        } else {
            held.run("start", 0);
            held.run("stop", 0);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}

/// Whoever could write a stale file can have it open still, and could forge the pid.
#[test]
fn c7_a_stale_file_that_others_could_write_is_replaced() {
    require!(root());
    let scene = Scene::new();
    let held = Held::new(&scene);
    for mode in [0o660, 0o606] {
        fs::write(&held.pidfile, "").unwrap();
        fs::set_permissions(&held.pidfile, Permissions::from_mode(mode)).unwrap();
        let mut theirs = fs::OpenOptions::new()
            .write(true)
            .open(&held.pidfile)
            .unwrap();
        held.run("start", 0);
        let daemon = held.daemon();
        std::io::Write::write_all(&mut theirs, b"1\n").unwrap();
        assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
        held.run("stop", 0);
    }
}
