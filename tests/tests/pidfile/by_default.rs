//! H2: the usual places of pidfile, log and state, where the arguments have no value.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use daemon_harness::{Launch, Scene, Started, bin, require};

use crate::{Home, ORDINARY, content, naming};

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

/// As by su(1), cron or `sudo -u`, and in a container.
#[test]
fn h2_without_a_login_it_is_in_a_directory_of_the_users_own() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let others = scene.dir("others", 0o700, Some(ORDINARY + 1));
    let open = scene.dir("open", 0o777, Some(ORDINARY));
    let tmp = scene.dir("tmp", 0o1777, None);
    let own = tmp.join(format!("svc-{ORDINARY}"));
    let missing = home.path("missing");
    let values: [&Path; 6] = [
        &others,
        &open,
        &missing,
        "".as_ref(),
        "run/user/4711".as_ref(),
        "/".as_ref(),
    ];
    for value in values {
        let start = || {
            home.service("")
                .env("TMPDIR", &tmp)
                .env("XDG_RUNTIME_DIR", value)
                .current_dir(&home.directory)
                .run()
        };
        start().assert_ready();
        let daemon = scene.daemon();
        assert_eq!(content(own.join("svc.pid")), naming(daemon.pid()));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o7777, 0o700);
        start().assert_exited(80);
        scene.stop(&daemon);
        fs::remove_dir(&own).expect("the pidfile is removed");
    }
}

#[test]
fn h2_a_directory_that_another_user_has_made_is_refused() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let tmp = scene.dir("tmp", 0o1777, None);
    let own = scene.dir(format!("tmp/svc-{ORDINARY}"), 0o700, Some(ORDINARY + 1));
    let start = || home.service("").env("TMPDIR", &tmp).run();
    let refused = |started: Started| {
        started
            .assert_exited(92)
            .assert_says(&["svc.pid", "is not this user's alone"]);
    };
    refused(start());
    fs::remove_dir(&own).expect("an empty directory");
    scene.dir(&own, 0o777, Some(ORDINARY));
    refused(start());
    fs::remove_dir(&own).expect("an empty directory");
    symlink(&home.directory, &own).expect("a link");
    refused(start());
    scene.assert_no_leftovers();
}

#[test]
fn h2_the_managers_directories_come_first() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let run = home.path("run");
        fs::create_dir(&run).expect("a directory");
        chown(&run, home.uid, home.uid).expect("chown");
        let list = |first: &Path| format!("{}:/nowhere", first.display());
        home.service("")
            .set("stdout", "usual")
            .env("RUNTIME_DIRECTORY", list(&run))
            .env("LOGS_DIRECTORY", list(&home.directory))
            .env("XDG_RUNTIME_DIR", &home.directory)
            .env("XDG_STATE_HOME", "/nowhere")
            .arg("init:expect_shutdown")
            .arg("main:print=hello")
            .arg("main:shutdown")
            .run()
            .assert_ready();
        let daemon = scene.daemon();
        assert_eq!(content(run.join("svc.pid")), naming(daemon.pid()));
        scene.stop(&daemon);
        assert_eq!(content(home.path("svc.log")), "hello");
    }
}

#[test]
fn the_default_log_is_with_the_state_of_the_user() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let at_home = home.path(".local/state/svc/svc.log");
    let elsewhere = home.path("elsewhere");
    for (state, log) in [
        (Path::new("relative"), at_home),
        (&elsewhere, elsewhere.join("svc/svc.log")),
    ] {
        home.service("")
            .set("stderr", "usual")
            .env("XDG_RUNTIME_DIR", &home.directory)
            .env("HOME", &home.directory)
            .env("XDG_STATE_HOME", state)
            .arg("init:expect_shutdown")
            .arg("main:eprintln=hello")
            .arg("main:shutdown")
            .run()
            .assert_ready();
        scene.stop(&scene.daemon());
        assert_eq!(content(&log), "hello\n");
        let directory = fs::metadata(log.parent().unwrap()).unwrap();
        assert_eq!(directory.mode() & 0o7777, 0o700);
    }
    // In the foreground the streams are the manager's.
    let unused = home.path("unused");
    let launch = home
        .service("")
        .set("stderr", "usual")
        .set("mode", "foreground");
    launch
        .env("XDG_RUNTIME_DIR", &home.directory)
        .env("XDG_STATE_HOME", &unused)
        .arg("main:print=")
        .run()
        .assert_exited(0);
    assert!(!unused.exists());
}

#[test]
fn a_user_without_a_home_has_the_log_beside_the_pidfile() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    home.service("")
        .set("stdout", "usual")
        .env("XDG_RUNTIME_DIR", &home.directory)
        .env("HOME", "/")
        .run()
        .assert_ready();
    scene.stop(&scene.daemon());
    assert_eq!(content(home.path("svc.log")), "");
}

/// Step 4 and the change of the user leave the answers as they are.
#[test]
fn the_service_hears_of_its_places_what_its_starter_heard() {
    let scene = Scene::new();
    for home in Home::all(&scene) {
        let state = home.path("state");
        let heard = home.path("heard");
        home.service(home.path("svc.pid"))
            .args(
                home.uid
                    .is_none()
                    .then_some("user=nobody")
                    .filter(|_| require::root().is_ok()),
            )
            .env("RUNTIME_DIRECTORY", &home.directory)
            .env("LOGS_DIRECTORY", "relative")
            .env("STATE_DIRECTORY", &state)
            .set("configure:places", &heard)
            .arg("init:expect_shutdown")
            .arg("main:places=-")
            .set("stdout", home.path("log"))
            .arg("main:shutdown")
            .run()
            .assert_ready();
        scene.stop(&scene.daemon());
        assert_eq!(content(home.path("log")), content(&heard));
        let pidfile = home.path("greeter.pid");
        assert!(content(&heard).contains(&format!("{} ", pidfile.display())));
        assert!(content(&heard).ends_with(&format!(" {}", state.display())));
    }
}

#[test]
fn a_set_user_id_program_believes_no_variable() {
    require!(root());
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let program = scene.path("svc");
    fs::copy(bin("svc"), &program).expect("a copy");
    chown(&program, Some(ORDINARY), None).expect("chown");
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("chmod");
    let heard = home.path("heard");
    scene
        .launch(&program)
        .ordinary(ORDINARY + 1)
        .env("RUNTIME_DIRECTORY", &home.directory)
        .env("XDG_RUNTIME_DIR", &home.directory)
        .env("TMPDIR", &home.directory)
        .env("LOGS_DIRECTORY", &home.directory)
        .env("STATE_DIRECTORY", &home.directory)
        .set("configure:places", &heard)
        .run()
        .assert_ready();
    scene.stop(&scene.daemon());
    let answer = content(&heard);
    assert!(
        answer.starts_with(&format!("/tmp/greeter-{ORDINARY}/greeter.pid ")),
        "{answer}"
    );
    assert!(!answer.contains("ordinary"), "{answer}");
}
