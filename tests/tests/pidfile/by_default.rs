//! The bare `pidfile`: `/run/NAME.pid` for root, `$XDG_RUNTIME_DIR/NAME.pid` for others.

use daemon_harness::{Launch, Scene, bin, require};

use crate::{Home, content, naming};

/// The service with the bare `pidfile`, started by root with a `/run` of its own.
fn with_private_run(scene: &Scene) -> Launch<'_> {
    let script = "mount -t tmpfs -o mode=755 none /run && exec \"$0\" \"$@\"";
    scene
        .launch("/usr/bin/unshare")
        .args(["-m", "/bin/sh", "-c", script])
        .arg(bin("svc"))
        .set("pidfile", "")
}

#[test]
fn the_default_for_root_is_in_run() {
    require!(root(), tool("unshare"), tool("nsenter"));
    let scene = Scene::new();
    // Root, too, may have it in the environment.
    with_private_run(&scene)
        .set("name", "greeter")
        .env("XDG_RUNTIME_DIR", scene.path(""))
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    let pidfile = format!("/proc/{}/root/run/greeter.pid", daemon.pid());
    assert_eq!(content(&pidfile), naming(daemon.pid()));
    assert!(!scene.path("greeter.pid").exists());

    // A second start in the same place; and one without a name has that of its program.
    let again = |name: &str| {
        let enter = scene
            .launch("/usr/bin/nsenter")
            .args(["-m", "-t", &daemon.pid().to_string()]);
        enter
            .arg(bin("svc"))
            .set("pidfile", "")
            .args(name.is_empty().then_some("name=greeter"))
            .run()
    };
    again("").assert_exited(80).assert_says(&[
        "/run/greeter.pid",
        &format!("held by pid {}\n", daemon.pid()),
    ]);
    again("svc").assert_ready();
    let other = scene
        .processes()
        .into_iter()
        .find(|process| process.pid() != daemon.pid())
        .unwrap();
    assert_eq!(
        content(format!("/proc/{}/root/run/svc.pid", other.pid())),
        naming(other.pid())
    );
    scene.stop(&daemon);
    assert!(!std::path::Path::new(&format!("/proc/{}/root/run/greeter.pid", other.pid())).exists());
}

#[test]
fn the_default_of_an_ordinary_user_is_in_the_runtime_directory() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let start = |launch: Launch<'_>| launch.env("XDG_RUNTIME_DIR", &home.directory).run();
    start(home.service("")).assert_ready();
    let daemon = scene.daemon();
    assert_eq!(content(home.path("svc.pid")), naming(daemon.pid()));
    start(home.service("")).assert_exited(80);
    scene.stop(&daemon);
    start(home.service("").set("name", "greeter")).assert_ready();
    assert_eq!(
        content(home.path("greeter.pid")),
        naming(scene.daemon().pid())
    );
    assert!(!home.path("svc.pid").exists());
}

#[test]
fn without_a_runtime_directory_there_is_no_default() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    home.service("")
        .run()
        .assert_exited(92)
        .assert_says(&["XDG_RUNTIME_DIR"]);
    for value in ["", "run/user/4711", "."] {
        let started = home
            .service("")
            .env("XDG_RUNTIME_DIR", value)
            .current_dir(&home.directory)
            .run();
        started.assert_exited(92).assert_says(&["XDG_RUNTIME_DIR"]);
    }
    let missing = home.path("missing");
    home.service("")
        .env("XDG_RUNTIME_DIR", &missing)
        .run()
        .assert_exited(92)
        .assert_says(&["missing/svc.pid"]);
    scene.assert_no_leftovers();
}
