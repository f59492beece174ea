//! The configuration is looked at before anything is changed.

use std::fs;

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::ctl::{Ctl, ORDINARY};
use serde_json::Value;

/// The service that has its note in a file.
fn embedded<'s>(scene: &'s Scene, command: &str) -> Launch<'s> {
    scene
        .launch(bin("embedded"))
        .arg("--pidfile")
        .arg(scene.pidfile())
        .arg("--config")
        .arg(scene.path("config"))
        .args(command.split_whitespace())
}

#[test]
fn h4_check_runs_configure_alone() {
    let scene = Scene::new();
    scene.file("config", "note=hello");
    let check = embedded(&scene, "check").run();
    assert_eq!(
        check.assert_exited(0).stdout,
        "embedded: configuration is good\n"
    );
    let quiet = embedded(&scene, "check --quiet").run();
    assert_eq!(quiet.assert_exited(0).stdout, "");
    scene.file("config", "broken");
    for line in ["check", "check --quiet"] {
        embedded(&scene, line)
            .run()
            .assert_exited(78)
            .assert_says(&["embedded: cannot configure: ", "config: broken?"]);
    }
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

#[test]
fn check_looks_names_and_directories_up() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.with("user", "nobody").succeeds("check");
    ctl.with("user", "nemo")
        .run("check")
        .assert_exited(78)
        .assert_says(&["user nemo"]);
    for place in ["/nowhere", "/dev/null"] {
        ctl.with("working_directory", place)
            .run("check")
            .assert_exited(78)
            .assert_says(&["cannot change the working directory", place]);
    }
    scene.assert_no_leftovers();
}

/// As a start would: nothing is opened.
#[test]
fn check_looks_at_what_is_at_the_paths_of_the_logs() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let (file, link) = (scene.file("file", ""), scene.path("link"));
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let directory = scene.dir("directory", 0o755, None);
    let open = scene.dir("open", 0o777, None);
    for (place, says) in [
        (directory.as_path(), "it is a directory"),
        (&link, "it is a symbolic link"),
        (&file.join("log"), "Not a directory"),
        (&directory.join("none/log"), "No such file"),
    ] {
        ctl.with("stderr", place)
            .run("check")
            .assert_exited(78)
            .assert_says(&[says]);
    }
    ctl.with("stderr", directory.join("log")).succeeds("check");
    require!(root());
    ctl.with("stderr", open.join("log"))
        .run("check")
        .assert_exited(78)
        .assert_says(&["log"]);
    scene.assert_no_leftovers();
}

/// Even that of a service which only root can start, and whose directory only root can see.
#[test]
fn an_ordinary_user_may_check() {
    require!(root());
    let scene = Scene::new();
    let closed = scene.dir("closed", 0o700, None);
    let ctl = Ctl::new(&scene).with("user", "nobody");
    let ctl = ctl
        .with("working_directory", closed.join("inner"))
        .by(ORDINARY);
    assert_eq!(ctl.succeeds("check"), "ctl: configuration is good\n");
}

#[test]
fn h4_a_broken_configuration_is_neither_restarted_nor_reloaded() {
    let scene = Scene::new();
    scene.file("config", "note=hello");
    embedded(&scene, "start").run().assert_ready();
    let daemon = scene.daemon();
    scene.file("config", "broken");
    for command in ["restart", "reload"] {
        embedded(&scene, command)
            .run()
            .assert_exited(78)
            .assert_says(&["cannot configure", "broken?"]);
        assert_eq!(scene.daemon().pid(), daemon.pid(), "{command}");
    }
    scene.file("config", "note=hello");
    embedded(&scene, "restart").run().assert_ready();
    assert_ne!(scene.daemon().pid(), daemon.pid());
}

/// This instance cannot hand over: a restart would stop it first.
#[test]
fn h4_wrong_settings_stop_no_service() {
    let scene = Scene::new();
    let (address, hangups) = (scene.path("address"), scene.path("hangups"));
    let ctl = Ctl::new(&scene)
        .with("alone", address)
        .with("hangup", &hangups);
    let daemon = ctl.start();
    for (wrong, status, says) in [
        (ctl.with("user", "nemo"), 93, "user nemo"),
        (ctl.with("working_directory", "/nowhere"), 91, "/nowhere"),
        (ctl.with("cpu_affinity", "0,1023"), 93, "no processor 1023"),
    ] {
        wrong
            .run("restart")
            .assert_exited(status)
            .assert_says(&[says]);
        wrong.run("reload").assert_exited(78).assert_says(&[says]);
        assert_eq!(scene.daemon().pid(), daemon.pid());
    }
    ctl.succeeds("reload");
    scene.wait_until("the one signal", || {
        fs::read_to_string(&hangups).is_ok_and(|text| text == "hung up\n")
    });
    ctl.run("restart").assert_ready();
    assert_ne!(scene.daemon().pid(), daemon.pid());
}

#[test]
fn h1_a_broken_configuration_does_not_keep_anyone_from_control() {
    let scene = Scene::new();
    scene.file("config", "note=hello");
    embedded(&scene, "start").run().assert_ready();
    let daemon = scene.daemon();
    scene.file("config", "broken");
    let status = embedded(&scene, "status").run();
    status
        .assert_exited(0)
        .assert_says(&["embedded: cannot configure: ", "broken?"]);
    let running = format!("embedded is running: pid {}", daemon.pid());
    assert!(status.stdout.starts_with(&running), "{status:?}");
    let json = embedded(&scene, "status --json").run();
    serde_json::from_str::<Value>(&json.stdout).expect("JSON alone");
    embedded(&scene, "stop").run().assert_exited(0);
    assert!(daemon.is_gone());
    embedded(&scene, "stop").run().assert_exited(0);
    embedded(&scene, "status").run().assert_exited(3);
    scene.assert_no_leftovers();
}

#[test]
fn h1_a_pidfile_that_only_the_configuration_names_is_not_known() {
    let scene = Scene::new();
    let pidfile = format!("pidfile={}\n", scene.pidfile().display());
    let own = |command: &str| {
        let launch = scene.launch(bin("embedded")).arg("--config");
        launch
            .arg(scene.path("config"))
            .args(command.split_whitespace())
            .run()
    };
    scene.file("config", &pidfile);
    own("start").assert_ready();
    own("status").assert_exited(0);
    let daemon = scene.daemon();
    scene.file("config", "broken");
    let says = "cannot configure: ";
    let status = own("status").assert_exited(4).stdout.clone();
    assert!(
        status.starts_with("it is unknown whether embedded is running: cannot configure: ")
            && status.ends_with("broken?: the pidfile is not known\n"),
        "{status}"
    );
    assert!(
        own("status --json")
            .assert_exited(4)
            .stdout
            .contains("\"unknown\"")
    );
    own("stop").assert_exited(78).assert_says(&[says]);
    assert!(!daemon.is_gone());
    // What is read before the fault counts.
    scene.file("config", pidfile + "broken");
    own("stop").assert_exited(0).assert_says(&[says]);
    scene.assert_no_leftovers();
}
