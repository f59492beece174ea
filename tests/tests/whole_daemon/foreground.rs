//! In the foreground: the same hooks, pidfile, privileges and statuses, in the process that was
//! started.

use std::fs;

use daemon_harness::{Launch, Running, Scene, Stdio, bin, require};

/// The service in the foreground, with a pidfile.
fn foreground(scene: &Scene) -> Launch<'_> {
    scene
        .launch(bin("svc"))
        .env("DAEMON_MODE", "foreground")
        .set("pidfile", scene.pidfile())
}

/// It is up: it has said so at the end of `init`, and waits.
fn up<'s>(launch: Launch<'s>, scene: &Scene) -> Running<'s> {
    let running = launch.arg("main:eprintln=up").arg("main:shutdown").spawn();
    scene.wait_until("readiness", || running.stderr().contains("up\n"));
    running
}

#[test]
fn the_process_that_was_started_is_the_service() {
    let scene = Scene::new();
    let running = up(foreground(&scene).hostile(), &scene);
    let (process, stat) = (running.process(), running.process().stat());
    assert_eq!(scene.daemon().pid(), running.pid(), "and the only one");
    assert_eq!(scene.pid_in_pidfile(), Some(running.pid()));
    assert!(!scene.lock_holders(scene.pidfile()).is_empty());
    assert_eq!(
        (process.ignored(), process.blocked()),
        (vec![libc::SIGPIPE], vec![]),
        "steps 2 and 3"
    );
    assert!(
        stat.session != running.pid() && stat.pgrp == running.pid(),
        "no step 6"
    );
    scene.stop(&process);
    assert!(!scene.pidfile().exists());
    scene.assert_no_leftovers();
}

#[test]
fn what_is_the_managers_business_stays() {
    let scene = Scene::new();
    let running = up(
        foreground(&scene)
            .hostile()
            .on_terminal()
            .stderr(Stdio::Pipe),
        &scene,
    );
    let process = running.process();
    let descriptors = process.descriptors();
    assert!(
        (2000..3000)
            .chain([3, 63, 1024])
            .all(|number| descriptors.contains_key(&number)),
        "descriptors"
    );
    assert!(
        [0, 1]
            .iter()
            .all(|number| descriptors[number].target == scene.terminal().path()),
        "streams"
    );
    assert!(process.stat().tty_nr != 0, "the terminal");
    assert_eq!(
        (process.cwd(), process.status().umask),
        (scene.path("hostile"), Some(0o077))
    );
    assert!(
        process
            .environ_bytes()
            .windows(7)
            .any(|bytes| bytes == b"hunter2"),
        "the environment"
    );
}

#[test]
fn privileges_are_dropped_all_the_same() {
    require!(root());
    let scene = Scene::new();
    let launch = foreground(&scene)
        .hostile()
        .ambient([0, 21])
        .set("user", "nobody")
        .arg("init:regain");
    let process = up(launch, &scene).process();
    let status = process.status();
    assert_eq!(
        [status.ruid, status.euid, status.suid, status.fuid],
        [65534; 4]
    );
    assert_eq!(
        [status.rgid, status.egid, status.sgid, status.fgid],
        [65534; 4]
    );
    assert_eq!(status.groups, [65534]);
    assert_eq!(
        [
            status.capprm,
            status.capeff,
            status.capinh,
            status.capamb.unwrap()
        ],
        [0; 4]
    );
    assert_eq!(status.nonewprivs, Some(1));
}

#[test]
fn a_jail_is_entered_all_the_same() {
    require!(root());
    let scene = Scene::new();
    let jail = scene.dir("jail", 0o755, None);
    let process = up(
        foreground(&scene)
            .set("chroot", &jail)
            .set("user", "nobody"),
        &scene,
    )
    .process();
    assert_eq!((process.root(), process.cwd()), (jail.clone(), jail));
}

#[test]
fn the_hooks_run_in_the_same_order() {
    let hooks = |launch: Launch<'_>, scene: &Scene| {
        let log = scene.path("hooks");
        let notes = ["configure", "privileged_init", "init", "main"];
        let launch = notes.iter().fold(launch, |launch, hook| {
            launch.set(&format!("{hook}:note"), format!("{}:{hook}", log.display()))
        });
        launch.run().assert_ready();
        scene.wait_until("the end", || scene.processes().is_empty());
        fs::read_to_string(log).unwrap()
    };
    let (detached, stayed) = (Scene::new(), Scene::new());
    let service = detached
        .launch(bin("svc"))
        .set("pidfile", detached.pidfile());
    assert_eq!(
        hooks(service, &detached),
        "configure\nprivileged_init\ninit\nmain\n"
    );
    assert_eq!(
        hooks(foreground(&stayed), &stayed),
        "configure\nprivileged_init\ninit\nmain\n"
    );
}

/// What is wrong, the status that says so, and words of the message.
const FAULTS: [(&str, i32, &str); 14] = [
    ("configure:err=no way", 78, "no way"),
    ("privileged_init:err=no way", 1, "no way"),
    ("init:err=no way", 1, "no way"),
    ("configure:panic=oh no", 101, "oh no"),
    ("privileged_init:panic=oh no", 101, "oh no"),
    ("init:panic=oh no", 101, "oh no"),
    ("init:exit=7", 7, ""),
    ("umask=1777", 2, "umask"),
    ("capabilities=CAP_NONSENSE", 2, "CAP_NONSENSE"),
    ("user=nemo", 93, "user nemo"),
    ("group=nautilus", 93, "group nautilus"),
    ("pidfile=/missing/service.pid", 92, "/missing"),
    ("pidfile=/dev/full", 92, "/dev/full"),
    ("nonsense=1", 78, "nonsense"),
];

#[test]
fn errors_and_statuses_are_the_same() {
    let scene = Scene::new();
    let detached = || scene.launch(bin("svc")).set("pidfile", scene.pidfile());
    for (fault, status, words) in FAULTS {
        let [detached, stayed] =
            [detached(), foreground(&scene)].map(|launch| launch.arg(fault).run());
        stayed.assert_exited(status).assert_says(&[words]);
        detached.assert_exited(status).assert_says(&[words]);
        // Where a hook ends the process that was started, nobody is left to say more; a panic tells
        // its thread's number.
        if !fault.contains("exit") && !fault.contains("panic") {
            assert_eq!(stayed.stderr, detached.stderr, "{fault}");
        }
        scene.assert_no_leftovers();
    }
}

#[test]
fn a_second_one_is_refused_in_either_mode() {
    let scene = Scene::new();
    let running = up(foreground(&scene), &scene);
    let pid = running.pid().to_string();
    foreground(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&["already running", &pid]);
    scene
        .launch(bin("svc"))
        .set("pidfile", scene.pidfile())
        .run()
        .assert_exited(80)
        .assert_says(&[&pid]);
    assert!(running.is_running() && scene.pid_in_pidfile() == Some(running.pid()));
}

#[test]
fn what_main_returns_is_its_status() {
    let scene = Scene::new();
    foreground(&scene)
        .arg("main:exit=42")
        .run()
        .assert_exited(42);
    foreground(&scene)
        .arg("main:err=broken")
        .run()
        .assert_exited(1)
        .assert_says(&["broken"]);
    foreground(&scene)
        .arg("main:panic=oh no")
        .run()
        .assert_exited(101)
        .assert_says(&["oh no"]);
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

#[test]
fn the_setting_does_what_the_variable_does() {
    let scene = Scene::new();
    let launch = scene
        .launch(bin("svc"))
        .set("mode", "foreground")
        .set("pidfile", scene.pidfile());
    let running = up(launch, &scene);
    assert_eq!(
        (scene.daemon().pid(), scene.pid_in_pidfile()),
        (running.pid(), Some(running.pid()))
    );
}

/// Started with this mode in the settings and this one in the environment, it detaches.
fn detaches(setting: &str, variable: &str) -> bool {
    let scene = Scene::new();
    let launch = scene
        .launch(bin("svc"))
        .set("mode", setting)
        .env("DAEMON_MODE", variable);
    let running = launch
        .set("main:write", scene.path("up"))
        .arg("main:shutdown")
        .spawn();
    scene.wait_until("the service", || scene.path("up").exists());
    scene
        .processes()
        .iter()
        .any(|process| process.pid() != running.pid())
}

#[test]
fn the_variable_overrides_auto_and_nothing_else() {
    assert!(detaches("auto", "detach"));
    assert!(!detaches("auto", "foreground"));
    assert!(detaches("detach", "foreground"));
    assert!(!detaches("foreground", "detach"));
}

#[test]
fn rule12_any_other_value_is_refused() {
    let scene = Scene::new();
    for value in [
        "garbage",
        "",
        "Foreground",
        "auto",
        "detach ",
        "foreground\n",
    ] {
        let launch = scene
            .launch(bin("svc"))
            .env("DAEMON_MODE", value)
            .set("configure:write", scene.path("written"));
        launch
            .run()
            .assert_exited(2)
            .assert_says(&["DAEMON_MODE", "detach", "foreground"]);
        assert!(!scene.path("written").exists());
        scene.assert_no_leftovers();
    }
    let no_text = scene.launch(bin("svc")).raw_env([b"DAEMON_MODE=\xff"]);
    no_text.run().assert_exited(2).assert_says(&["DAEMON_MODE"]);
}

#[test]
fn e41_the_variable_is_unset_before_anything_can_inherit_it() {
    for mode in ["detach", "foreground"] {
        let scene = Scene::new();
        let launch = scene
            .launch(bin("svc"))
            .env("DAEMON_MODE", mode)
            .set("keep_env", "*");
        let launch = launch
            .arg("configure:sh=test -z \"${DAEMON_MODE+set}\"")
            .arg("main:sleep=0");
        launch
            .arg("init:sh=test -z \"${DAEMON_MODE+set}\"")
            .run()
            .assert_ready();
        scene.wait_until("the end", || scene.processes().is_empty());
    }
}

#[test]
fn the_start_timeout_is_the_managers_business() {
    let scene = Scene::new();
    up(
        foreground(&scene)
            .set("start_timeout", "1")
            .arg("init:sleep=100"),
        &scene,
    );
}

#[test]
fn a_signal_ends_it_before_it_is_ready() {
    let scene = Scene::new();
    let running = foreground(&scene)
        .arg("init:eprintln=here")
        .arg("init:hang")
        .spawn();
    scene.wait_until("init", || running.stderr().contains("here"));
    running.signal(libc::SIGTERM);
    running.wait().assert_killed(libc::SIGTERM);
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

/// As after `--help`.
#[test]
fn configure_may_end_it_well() {
    let scene = Scene::new();
    foreground(&scene)
        .arg("configure:print=usage\n")
        .arg("configure:exit=0")
        .run()
        .assert_exited(0);
    scene
        .launch(bin("svc"))
        .arg("configure:exit=0")
        .run()
        .assert_exited(0);
    scene.assert_no_leftovers();
}
