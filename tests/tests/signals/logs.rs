//! E9: in the foreground, logs that the manager or a shell has opened are opened again at a reload,
//! if they were rotated.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use daemon_harness::{Running, Scene, bin, require};

const NOBODY: u32 = 65534;

/// The fixture service, started by a shell that connects its log as run scripts do.
struct Logged<'s> {
    scene: &'s Scene,
    log: PathBuf,
    running: Running<'s>,
}

impl<'s> Logged<'s> {
    fn start(scene: &'s Scene, log: &Path, redirection: &str, settings: &[&str]) -> Self {
        let script = format!(r#"exec {redirection}{} 2>&1; exec "$@""#, log.display());
        let launch = scene
            .launch("/bin/sh")
            .args(["-c", &script, "run"])
            .arg(bin("svc"));
        let launch = launch.args(settings).args([
            "init:reloads",
            "init:expect_shutdown",
            "main:eprintln=up",
        ]);
        let running = launch
            .arg("main:shutdown")
            .env("DAEMON_MODE", "foreground")
            .spawn();
        scene.wait_until("the first line", || read(log).ends_with("up\n"));
        Self {
            scene,
            log: log.to_owned(),
            running,
        }
    }

    fn old(&self) -> PathBuf {
        self.log.with_extension("1")
    }

    fn rotate(&self) {
        fs::rename(&self.log, self.old()).expect("rotated");
    }

    /// Has it reload, and waits until that is said in this file.
    #[track_caller]
    fn reload(&self, file: &Path) {
        let before = read(file).matches("reloaded\n").count();
        self.running.signal(libc::SIGHUP);
        self.scene.wait_until("the line", || {
            read(file).matches("reloaded\n").count() == before + 1
        });
    }

    /// Where its standard output and standard error go.
    fn streams(&self) -> [PathBuf; 2] {
        let descriptors = self.running.process().descriptors();
        [1, 2].map(|number| descriptors[&number].target.clone())
    }

    fn stop(self) {
        self.running.signal(libc::SIGTERM);
        self.running.wait().assert_exited(0);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn e9_a_log_that_a_shell_has_opened_is_opened_again() {
    let scene = Scene::new();
    let log = scene.file("log", "");
    fs::set_permissions(&log, Permissions::from_mode(0o604)).unwrap();
    let service = Logged::start(&scene, &log, ">>", &[]);
    for _ in 0..3 {
        service.rotate();
        let before = read(&service.old());
        service.reload(&log);
        assert_eq!(
            (read(&log).as_str(), read(&service.old())),
            ("reloaded\n", before)
        );
        assert_eq!(service.streams(), [&*log, &*log]);
        assert_eq!(
            fs::metadata(&log).unwrap().mode() & 0o7777,
            0o604,
            "as the old one"
        );
    }
    fs::remove_file(&log).unwrap();
    service.reload(&log);
    service.stop();
}

#[test]
fn e9_one_that_logrotate_has_made_is_taken() {
    let scene = Scene::new();
    let log = scene.path("log");
    let service = Logged::start(&scene, &log, ">>", &[]);
    service.rotate();
    scene.file("log", "made\n");
    service.reload(&log);
    assert_eq!(read(&log), "made\nreloaded\n");
    service.stop();
}

#[test]
fn e9_one_that_was_not_rotated_or_is_truncated_in_place_is_left_alone() {
    let scene = Scene::new();
    let log = scene.path("log");
    let service = Logged::start(&scene, &log, ">>", &[]);
    let inode = || fs::metadata(&log).unwrap().ino();
    let before = inode();
    service.reload(&log);
    assert_eq!(read(&log), "up\nreloaded\n");
    fs::write(&log, "").unwrap();
    service.reload(&log);
    assert_eq!((read(&log).as_str(), inode()), ("reloaded\n", before));
    service.stop();
}

/// It is not known to be a log: whoever opened it may want all of it.
#[test]
fn e9_a_file_that_was_not_opened_to_append_is_left_alone() {
    let scene = Scene::new();
    let log = scene.path("log");
    let service = Logged::start(&scene, &log, ">", &[]);
    service.rotate();
    service.reload(&service.old());
    assert!(!log.exists());
    service.stop();
}

#[test]
fn e9_where_the_service_may_not_it_goes_on_with_the_old_file_and_says_so() {
    require!(root());
    let scene = Scene::new();
    let log = scene.path("log");
    let service = Logged::start(&scene, &log, ">>", &["user=nobody"]);
    service.rotate();
    service.reload(&service.old());
    assert!(
        read(&service.old()).contains("going on with the old file"),
        "{}",
        read(&service.old())
    );
    assert!(!log.exists());
    scene.file("log", "");
    std::os::unix::fs::chown(&log, Some(NOBODY), None).unwrap();
    service.reload(&log);
    service.stop();
}

#[test]
fn e9_root_opens_no_trap() {
    require!(root());
    let scene = Scene::new();
    let victim = scene.file("victim", "");
    let log = scene.path("log");
    let service = Logged::start(&scene, &log, ">>", &[]);
    service.rotate();
    std::os::unix::fs::symlink(&victim, &log).unwrap();
    service.reload(&service.old());
    fs::remove_file(&log).unwrap();
    fs::hard_link(&victim, &log).unwrap();
    service.reload(&service.old());
    // Of both streams, each time.
    assert_eq!(
        (
            read(&victim).as_str(),
            read(&service.old())
                .matches("going on with the old file")
                .count()
        ),
        ("", 4)
    );
    service.stop();
    // Nor anything in a directory that another user can write.
    let log = scene.dir("theirs", 0o755, Some(NOBODY)).join("log");
    let service = Logged::start(&scene, &log, ">>", &[]);
    service.rotate();
    service.reload(&service.old());
    assert!(
        !log.exists() && read(&service.old()).contains("belongs to user id 65534"),
        "{}",
        read(&service.old())
    );
    service.stop();
}

/// A jail in which the log's directory is there, too; the setting, and where the path would lead.
fn jail(scene: &Scene, log: &Path) -> (String, PathBuf) {
    let jail = scene.dir("jail", 0o755, None);
    let inside = jail.join(log.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    (format!("chroot={}", jail.display()), inside)
}

#[test]
fn e9_from_inside_a_chroot_no_log_is_opened_by_its_path() {
    require!(root());
    let scene = Scene::new();
    let (log, old) = (scene.path("log"), scene.path("log.1"));
    let (chroot, inside) = jail(&scene, &log);
    let launch = scene
        .launch(bin("svc"))
        .set("stdout", &log)
        .set("stderr", &log)
        .arg(chroot);
    launch
        .args(["init:reloads", "init:expect_shutdown"])
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    fs::rename(&log, &old).unwrap();
    daemon.signal(libc::SIGHUP);
    scene.wait_until("the line", || read(&old).ends_with("reloaded\n"));
    assert!(!inside.exists() && !log.exists());
    assert!(
        read(&old).contains("its path is outside of the chroot: going on with the old file"),
        "{}",
        read(&old)
    );
    scene.stop(&daemon);
}

/// Without /proc inside it cannot be told that it was rotated.
#[test]
fn e9_nor_an_inherited_one() {
    require!(root());
    let scene = Scene::new();
    let log = scene.path("log");
    let (chroot, inside) = jail(&scene, &log);
    let service = Logged::start(&scene, &log, ">>", &[&chroot]);
    service.rotate();
    service.reload(&service.old());
    assert!(!inside.exists() && !log.exists());
    service.stop();
}
