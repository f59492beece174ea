//! E17: relative paths mean the directory that the person stood in.

use std::fs;
use std::path::{Path, PathBuf};

use daemon_harness::{Scene, bin};
use daemon_tests::svc::ready_daemon;

/// A directory to stand in, with a directory beside it.
fn place(scene: &Scene) -> PathBuf {
    scene.dir("beside", 0o755, None);
    scene.dir("here", 0o755, None)
}

#[test]
fn e17_relative_paths_of_every_setting() {
    let scene = Scene::new();
    let here = place(&scene);
    let launch = scene
        .launch(bin("svc"))
        .current_dir(&here)
        .set("pidfile", "svc.pid")
        .set("stdout", "./out");
    launch
        .set("stderr", "../beside/err")
        .set("working_directory", "../beside")
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    assert_eq!(
        fs::read_to_string(here.join("svc.pid")).unwrap(),
        format!("{}\n", daemon.pid())
    );
    let found = daemon.descriptors();
    assert_eq!(
        [&found[&1].target, &found[&2].target],
        [&here.join("out"), &scene.path("beside/err")]
    );
    assert_eq!(daemon.cwd(), scene.path("beside"));
    daemon.signal(libc::SIGTERM);
    scene.exit_status(&daemon);
    assert!(!here.join("svc.pid").exists());
}

#[test]
fn e17_files_that_configure_names_are_where_the_person_stood() {
    let scene = Scene::new();
    let here = place(&scene);
    fs::write(here.join("config"), "the configuration").unwrap();
    let launch = scene
        .launch(bin("svc"))
        .set("pidfile", scene.pidfile())
        .current_dir(&here);
    let started = launch
        .arg("configure:cat=config")
        .arg("configure:open=config")
        .run();
    assert_eq!(started.assert_ready().stdout, "the configuration");
    assert!(scene.daemon().descriptor_of(here.join("config")).is_some());
    assert_eq!(scene.daemon().cwd(), Path::new("/"));
}

#[test]
fn e17_a_relative_name_of_the_program() {
    let scene = Scene::new();
    let here = place(&scene);
    fs::copy(bin("svc"), here.join("greeter")).unwrap();
    let script = "cd \"$0\" && exec ./greeter \"$@\"";
    let launch = scene
        .launch("/bin/sh")
        .args(["-c", script])
        .arg(&here)
        .set("pidfile", scene.pidfile());
    let daemon = ready_daemon(&scene, launch);
    assert_eq!(daemon.exe(), here.join("greeter"));
}

#[test]
fn e17_a_directory_that_is_gone_hinders_relative_paths_only() {
    let scene = Scene::new();
    let start = |pidfile: &Path| {
        let here = scene.dir("gone", 0o755, None);
        let script = "cd \"$0\" && rmdir \"$0\" && exec \"$@\"";
        scene
            .launch("/bin/sh")
            .args(["-c", script])
            .arg(here)
            .arg(bin("svc"))
            .set("pidfile", pidfile)
            .run()
    };
    start(Path::new("svc.pid"))
        .assert_exited(2)
        .assert_says(&["pidfile \"svc.pid\"", "No such file"]);
    start(&scene.pidfile()).assert_ready();
}
