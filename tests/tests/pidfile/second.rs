//! E24 and E25: the second start changes nothing, and a stale file hinders nobody.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use daemon_harness::{PROMPT, Scene, bin, require};
use daemon_tests::svc::{at_barrier, barrier, in_foreground, ready_daemon, service};

use crate::{Home, content, naming};

/// All that a second start could change of a file.
fn state(path: &Path) -> (String, u64, u32, u64, SystemTime, i64) {
    let found = fs::metadata(path).expect("a pidfile");
    (
        content(path),
        found.ino(),
        found.mode(),
        found.nlink(),
        found.modified().expect("a time"),
        found.ctime_nsec(),
    )
}

#[test]
fn e24_a_second_start_names_the_first_and_changes_nothing() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let pidfile = home.path("service.pid");
        home.service(&pidfile).run().assert_ready();
        let daemon = scene.daemon();
        let before = state(&pidfile);
        for umask in [0, 0o777] {
            let started = home.service(&pidfile).umask(umask).run();
            started.assert_exited(80);
            let wanted = format!(
                "already running: {}: held by pid {}\n",
                pidfile.display(),
                daemon.pid()
            );
            assert_eq!(started.stderr, format!("svc: {wanted}"));
            assert!(started.elapsed < PROMPT, "{started:?}");
            assert_eq!(state(&pidfile), before);
        }
        scene.stop(&daemon);
    }
}

#[test]
fn e24_a_second_start_of_a_service_that_gave_root_up() {
    require!(root());
    let scene = Scene::new();
    let start = || service(&scene).set("user", "nobody").run();
    start().assert_ready();
    let before = state(&scene.pidfile());
    let named = format!("held by pid {}\n", scene.daemon().pid());
    start().assert_exited(80).assert_says(&[&named]);
    assert_eq!(state(&scene.pidfile()), before);
}

#[test]
fn e24_a_second_start_comes_to_no_hook_but_configure() {
    let scene = Scene::new();
    ready_daemon(&scene, service(&scene));
    let noted = ["privileged_init", "init", "main"]
        .map(|hook| format!("{hook}:write={}", scene.path(hook).display()));
    service(&scene).args(noted).run().assert_exited(80);
    assert!(
        ["privileged_init", "init", "main"]
            .iter()
            .all(|hook| !scene.path(hook).exists())
    );
}

#[test]
fn e24_a_second_start_looks_nothing_up() {
    let scene = Scene::new();
    ready_daemon(&scene, service(&scene));
    service(&scene)
        .arg("user=no-such-user")
        .run()
        .assert_exited(80);
}

#[test]
fn e24_a_second_start_while_the_first_is_not_ready() {
    let scene = Scene::new();
    let barrier = barrier(&scene, "barrier");
    let first = service(&scene)
        .arg(format!("init:cat={}", barrier.display()))
        .spawn();
    let waiting = at_barrier(&scene, &barrier);
    let pid = scene
        .pid_in_pidfile()
        .expect("the pid is written before init");
    service(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&[&format!("held by pid {pid}, which is still starting\n")]);
    drop(waiting);
    first.wait().assert_ready();
    assert_eq!(
        (scene.daemon().pid(), scene.pid_in_pidfile()),
        (pid, Some(pid))
    );
}

#[test]
fn e24_detached_or_in_the_foreground_there_is_one() {
    let scene = Scene::new();
    let foreground = || service(&scene).env("DAEMON_MODE", "foreground");
    let running = in_foreground(&scene, service(&scene), "shutdown");
    let named = format!("held by pid {}\n", running.pid());
    service(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&[&named]);
    foreground().run().assert_exited(80).assert_says(&[&named]);
    running.signal(libc::SIGTERM);
    running.wait();
    assert!(!scene.pidfile().exists());

    let daemon = ready_daemon(&scene, service(&scene));
    let named = format!("held by pid {}\n", daemon.pid());
    foreground().run().assert_exited(80).assert_says(&[&named]);
}

#[test]
fn e24_the_same_file_by_another_path_is_the_same_service() {
    let scene = Scene::new();
    ready_daemon(&scene, service(&scene));
    let around = scene.dir("around", 0o755, None).join("../service.pid");
    scene
        .launch(bin("svc"))
        .set("pidfile", around)
        .run()
        .assert_exited(80);
}

#[test]
fn e24_without_proc_the_first_is_named_too() {
    require!(root());
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene));
    let started = service(&scene).without_proc().run();
    started
        .assert_exited(80)
        .assert_says(&[&format!("held by pid {}\n", daemon.pid())]);
}

/// Starts over a file with this content, and stops.
fn starts_over(found: impl AsRef<[u8]>) {
    let scene = Scene::new();
    scene.file("service.pid", found);
    let daemon = ready_daemon(&scene, service(&scene));
    scene.stop(&daemon);
    scene.assert_no_leftovers();
}

#[test]
fn e25_a_stale_pid_may_be_in_use_again() {
    starts_over(naming(1));
    starts_over(naming(std::process::id().cast_signed()));
    let scene = Scene::new();
    let other = scene.launch("/bin/sleep").arg("1000").spawn();
    scene.file("service.pid", naming(other.pid()));
    service(&scene).run().assert_ready();
    assert!(other.is_running());
    assert_ne!(scene.pid_in_pidfile(), Some(other.pid()));
}

#[test]
fn e25_a_stale_pid_may_be_that_of_an_ordinary_users_superior() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let pidfile = home.path("service.pid");
    fs::write(&pidfile, naming(1)).unwrap();
    std::os::unix::fs::chown(&pidfile, home.uid, home.uid).unwrap();
    home.service(&pidfile).run().assert_ready();
    assert_eq!(content(&pidfile), naming(scene.daemon().pid()));
}

#[test]
fn e25_a_stale_pid_may_be_the_starters_own() {
    let scene = Scene::new();
    let script = "echo $$ >\"$0\" && exec \"$@\"";
    let launch = scene
        .launch("/bin/sh")
        .args(["-c", script])
        .arg(scene.pidfile())
        .arg(bin("svc"));
    let running = launch.set("pidfile", scene.pidfile()).spawn();
    let pid = running.pid();
    running.wait().assert_ready();
    let daemon = scene.daemon();
    assert_ne!(daemon.pid(), pid);
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
}

#[test]
fn e25_a_file_of_any_content_is_overwritten() {
    for found in [
        "",
        "\n",
        "0\n",
        "-1\n",
        "1",
        " 1 \n",
        "+1\n",
        "1\n2\n3\n",
        "99999999999999999999\n",
        "4711 svc\n",
    ] {
        starts_over(found);
    }
    starts_over(b"\0\0\0\0\xff\xfe\n");
    starts_over(vec![b'1'; 100_000]);
}

#[test]
fn what_is_no_pidfile_is_neither_overwritten_nor_removed() {
    let scene = Scene::new();
    let data = "root:x:0:0:root:/root:/bin/bash\n".repeat(10);
    let path = scene.file("service.pid", &data);
    for mode in [0o600, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        service(&scene)
            .run()
            .assert_exited(92)
            .assert_says(&["service.pid", "does not begin with a pid"]);
        let error = daemon_rt::Pidfile::lock(&path).unwrap_err();
        assert!(error.to_string().contains("does not begin with a pid"));
        let control = daemon_rt::control::Control::new(&path);
        _ = control.stop(daemon_harness::PATIENCE);
        assert_eq!(fs::read_to_string(&path).unwrap(), data);
    }
    fs::remove_file(&path).unwrap();
    scene.assert_no_leftovers();
}
