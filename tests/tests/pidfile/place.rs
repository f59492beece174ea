//! E21 and E22: what may be at the path of a pidfile, and who may write the directories that lead
//! there.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use daemon_harness::{Scene, errno_text, require};
use daemon_tests::svc::{barrier, service};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::{Home, ORDINARY, content, naming};

/// The start is refused, quickly, saying this.
#[track_caller]
fn refused(home: &Home<'_>, pidfile: &Path, says: &str) {
    let started = home.service(pidfile).run();
    started.assert_exited(92).assert_says(&[
        "cannot write the pidfile",
        &pidfile.display().to_string(),
        says,
    ]);
    home.scene.assert_no_leftovers();
}

/// The service can be started and stopped with this pidfile.
#[track_caller]
fn accepted(home: &Home<'_>, pidfile: &Path) {
    home.service(pidfile).run().assert_ready();
    let daemon = home.scene.daemon();
    assert_eq!(content(pidfile), naming(daemon.pid()));
    home.scene.stop(&daemon);
    assert!(!pidfile.exists());
}

#[test]
fn e21_a_symlink_is_not_followed() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let (pidfile, target) = (home.path("service.pid"), home.path("precious"));
        fs::write(&target, "precious").unwrap();
        chown(&target, home.uid, home.uid).unwrap();
        for to in [
            target.clone(),
            "precious".into(),
            "/dev/null".into(),
            "service.pid".into(),
            "..".into(),
        ] {
            symlink(&to, &pidfile).unwrap();
            refused(&home, &pidfile, "symbolic link");
            assert_eq!(
                (content(&target), fs::read_link(&pidfile).unwrap()),
                ("precious".to_owned(), to)
            );
            fs::remove_file(&pidfile).unwrap();
        }
    }
}

#[test]
fn e21_a_dangling_symlink_creates_nothing() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let (pidfile, target) = (home.path("service.pid"), home.path("new"));
        symlink(&target, &pidfile).unwrap();
        refused(&home, &pidfile, "symbolic link");
        assert!(!target.exists() && pidfile.is_symlink());
    }
}

#[test]
fn e21_a_hard_link_is_refused() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let (pidfile, target) = (home.path("service.pid"), home.path("precious"));
        fs::write(&target, "precious").unwrap();
        chown(&target, home.uid, home.uid).unwrap();
        fs::hard_link(&target, &pidfile).unwrap();
        refused(&home, &pidfile, "hard link");
        assert_eq!(content(&target), "precious");
        assert!(pidfile.exists());
    }
}

#[test]
fn e21_a_fifo_is_refused_without_a_hang() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "fifo");
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        fs::rename(&fifo, &pidfile).unwrap();
        refused(&home, &pidfile, "FIFO");
        let _reader = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pidfile)
            .unwrap();
        refused(&home, &pidfile, "FIFO");
        fs::rename(&pidfile, &fifo).unwrap();
    }
}

#[test]
fn e21_a_directory_is_refused() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        fs::create_dir(&pidfile).unwrap();
        refused(&home, &pidfile, "directory");
        assert!(pidfile.is_dir());
        refused(&home, &home.path(".."), "");
        refused(&home, Path::new("/"), "");
    }
}

#[test]
fn e21_a_socket_is_refused() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        let _listener = UnixListener::bind(&pidfile).unwrap();
        refused(&home, &pidfile, "socket");
        assert!(
            fs::symlink_metadata(&pidfile)
                .unwrap()
                .file_type()
                .is_socket()
        );
    }
}

#[test]
fn e21_a_device_is_refused() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    // The null device, and one that no driver is behind: what opens it fails otherwise.
    for (kind, major, minor) in [
        (SFlag::S_IFCHR, 1, 3),
        (SFlag::S_IFCHR, 240, 240),
        (SFlag::S_IFBLK, 240, 240),
    ] {
        let pidfile = home.path("service.pid");
        mknod(&pidfile, kind, Mode::S_IRWXU, makedev(major, minor)).unwrap();
        refused(&home, &pidfile, "device");
        fs::remove_file(&pidfile).unwrap();
    }
}

#[test]
fn e21_no_directory_and_no_right() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        refused(
            &home,
            &home.path("missing/service.pid"),
            "No such file or directory",
        );
        fs::write(home.path("file"), "").unwrap();
        refused(&home, &home.path("file/service.pid"), "Not a directory");
    }
    if require::root().is_ok() {
        let home = Home {
            directory: scene.dir("forbidden", 0o755, None),
            uid: Some(ORDINARY),
            scene: &scene,
        };
        refused(&home, &home.path("service.pid"), "Permission denied");
        assert!(!home.path("service.pid").exists());
    }
}

#[test]
fn e22_an_ordinary_user_cannot_meddle_with_roots_service() {
    require!(root());
    let scene = Scene::new();
    service(&scene).run().assert_ready();
    let before = content(scene.pidfile());
    let launch = service(&scene).ordinary(ORDINARY);
    launch
        .run()
        .assert_exited(92)
        .assert_says(&["Permission denied"]);
    assert_eq!(content(scene.pidfile()), before);
}

/// A directory in the scene with this mode and owner, and a group of its own.
fn directory(home: &Home<'_>, mode: u32, uid: u32, gid: u32) -> std::path::PathBuf {
    let path = home.path(&format!("{mode:o}-{uid}-{gid}"));
    fs::create_dir(&path).unwrap();
    chown(&path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn e22_root_refuses_a_directory_that_others_can_write() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    let modes = [
        (0o777, 0, 0),
        (0o1777, 0, 0),
        (0o757, 0, 0),
        (0o775, 0, ORDINARY),
        (0o3775, 0, ORDINARY),
    ];
    for (mode, uid, gid) in modes
        .into_iter()
        .chain([(0o755, ORDINARY, 0), (0o555, ORDINARY, 0)])
    {
        let directory = directory(&home, mode, uid, gid);
        let pidfile = directory.join("service.pid");
        refused(
            &home,
            &pidfile,
            &format!("the directory {}", directory.display()),
        );
        assert!(!pidfile.exists());
    }
}

#[test]
fn e22_root_accepts_a_directory_that_only_root_can_write() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    for (mode, gid) in [
        (0o755, 0),
        (0o700, 0),
        (0o775, 0),
        (0o755, ORDINARY),
        (0o2755, ORDINARY),
        (0o1755, 0),
    ] {
        accepted(&home, &directory(&home, mode, 0, gid).join("service.pid"));
    }
}

#[test]
fn e22_root_looks_at_every_directory_on_the_way() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    // A sticky directory on the way will do: there nobody can exchange what is root's. One of a
    // group (as Ubuntu's /var/log) too: what its members could put there is not root's.
    for (mode, uid, gid, fine) in [
        (0o777, 0, 0, false),
        (0o775, 0, ORDINARY, true),
        (0o755, ORDINARY, 0, false),
        (0o1777, 0, 0, true),
        (0o1775, 0, ORDINARY, true),
        (0o711, 0, 0, true),
    ] {
        let outer = directory(&home, mode, uid, gid);
        let inner = outer.join("inner/innermost");
        fs::create_dir_all(&inner).unwrap();
        let pidfile = inner.join("service.pid");
        if fine {
            accepted(&home, &pidfile);
        } else {
            refused(
                &home,
                &pidfile,
                &format!("the directory {}", outer.display()),
            );
        }
    }
}

#[test]
fn e22_root_follows_a_symlink_that_only_root_can_change() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    let run = home.path("run");
    fs::create_dir_all(run.join("deeper")).unwrap();
    // As /var/run leads to /run, and ../run does on other systems.
    let sticky = directory(&home, 0o1777, 0, 0);
    for (link, to) in [
        (home.path("absolute"), run.clone()),
        (home.path("relative"), "run".into()),
        (home.path("up"), "../own/run".into()),
        (home.path("longer"), "absolute/deeper/..".into()),
        (sticky.join("in-tmp"), run.clone()),
    ] {
        symlink(to, &link).unwrap();
        accepted(&home, &link.join("service.pid"));
    }
}

#[test]
fn e22_root_follows_no_symlink_that_others_can_change() {
    require!(root());
    let scene = Scene::new();
    let home = Home::own(&scene);
    let run = home.path("run");
    fs::create_dir(&run).unwrap();
    let (open, sticky) = (
        directory(&home, 0o777, 0, 0),
        directory(&home, 0o1777, 0, 0),
    );
    let link = |path: std::path::PathBuf, owner: u32, to: &Path| {
        symlink(to, &path).unwrap();
        lchown(&path, Some(owner), Some(owner)).unwrap();
        path.join("service.pid")
    };
    refused(&home, &link(open.join("link"), 0, &run), "the directory");
    refused(
        &home,
        &link(sticky.join("link"), ORDINARY, &run),
        "the symbolic link",
    );
    refused(
        &home,
        &link(home.path("to-open"), 0, &open),
        "the directory",
    );
    refused(
        &home,
        &link(home.path("by-open"), 0, &open.join("../run")),
        "the directory",
    );
    refused(
        &home,
        &link(home.path("endless"), 0, &home.path("endless")),
        &errno_text(libc::ELOOP),
    );
    assert!(!run.join("service.pid").exists());
}

#[test]
fn an_ordinary_user_may_use_a_directory_for_all() {
    require!(root());
    let scene = Scene::new();
    let home = Home {
        directory: scene.dir("tmp", 0o1777, None),
        uid: Some(ORDINARY),
        scene: &scene,
    };
    let pidfile = home.path("service.pid");
    accepted(&home, &pidfile);
    // But not what others have put there.
    fs::write(&pidfile, "").unwrap();
    fs::set_permissions(&pidfile, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&home, &pidfile, "");
}

#[test]
fn a_full_file_system_is_a_failed_start() {
    require!(root(), tool("unshare"));
    let scene = Scene::new();
    let directory = scene.dir("full", 0o755, None);
    let script = "mount -t tmpfs -o size=4k,mode=755 none . && cd . && cd \"$PWD\" && printf 1234 >full && \
                  \"$0\" pidfile=\"$PWD/service.pid\"; status=$?; ls; exit $status";
    let launch = scene
        .launch("/usr/bin/unshare")
        .args(["-m", "/bin/sh", "-c", script])
        .arg(daemon_harness::bin("svc"));
    let started = launch.current_dir(directory).run();
    started
        .assert_exited(92)
        .assert_says(&["No space left on device"]);
    assert_eq!(started.stdout, "full\n");
}
