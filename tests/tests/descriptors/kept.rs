//! Descriptors that the service is to keep: `keep_fds`, `keep_fds_from`, `Daemon::keep_fd`.

use std::fs;

use daemon_harness::{Launch, Proc, Scene, bin};

/// The service, with 300, 400 and 500 inherited, each for a file of its number.
fn service(scene: &Scene) -> Launch<'_> {
    let mut launch = scene
        .launch(bin("fds"))
        .arg("--pidfile")
        .arg(scene.pidfile());
    for number in [300, 400, 500] {
        launch = launch.descriptor(number, scene.file(number.to_string(), ""));
    }
    launch
}

/// Fails unless the daemon has these of the inherited descriptors, under their numbers, and no
/// other.
#[track_caller]
fn assert_kept(scene: &Scene, daemon: &Proc, expected: &[i32]) {
    let found = daemon.descriptors();
    for number in [300, 400, 500] {
        let path = scene.path(number.to_string());
        let at: Vec<i32> = found
            .iter()
            .filter(|(_, descriptor)| descriptor.target == path)
            .map(|(number, _)| *number)
            .collect();
        let kept = expected.contains(&number);
        assert_eq!(
            at,
            if kept { vec![number] } else { Vec::new() },
            "{found:#?}"
        );
    }
}

fn is_closed_on_exec(daemon: &Proc, number: i32) -> bool {
    let info = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", daemon.pid())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    i32::from_str_radix(flags.unwrap().trim(), 8).unwrap() & libc::O_CLOEXEC != 0
}

#[test]
fn numbers_in_the_attribute_are_kept() {
    let scene = Scene::new();
    service(&scene).run().assert_ready();
    let daemon = scene.daemon();
    assert_kept(&scene, &daemon, &[300]);
    assert!(!is_closed_on_exec(&daemon, 300));
}

#[test]
fn a_variable_names_one_and_stays() {
    let scene = Scene::new();
    let report = scene.path("report");
    service(&scene)
        .env("TUN_FD", "400")
        .arg("--report")
        .arg(&report)
        .run()
        .assert_ready();
    assert_kept(&scene, &scene.daemon(), &[300, 400]);
    scene.wait_until("the report", || {
        fs::read_to_string(&report).is_ok_and(|text| text == "400")
    });
}

#[test]
fn configure_takes_over_what_an_argument_names() {
    for arguments in [&["--tun-fd", "500"][..], &["--tun-fd=500"]] {
        let scene = Scene::new();
        service(&scene).args(arguments).run().assert_ready();
        let daemon = scene.daemon();
        assert_kept(&scene, &daemon, &[300, 500]);
        assert!(is_closed_on_exec(&daemon, 500));
    }
}

#[test]
fn configure_takes_over_what_the_settings_keep() {
    for (number, variable) in [(300, None), (400, Some("400"))] {
        let scene = Scene::new();
        let config = scene.file("config", format!("{number}\n"));
        let mut launch = service(&scene).arg("--config").arg(config);
        if let Some(variable) = variable {
            launch = launch.env("TUN_FD", variable);
        }
        launch.run().assert_ready();
        let daemon = scene.daemon();
        assert_eq!(
            daemon.descriptors()[&number].target,
            scene.path(number.to_string())
        );
        assert!(is_closed_on_exec(&daemon, number));
    }
}

#[test]
fn in_the_foreground_it_takes_over_any() {
    let scene = Scene::new();
    let config = scene.file("config", "400\n");
    let running = service(&scene)
        .env("DAEMON_MODE", "foreground")
        .arg("--config")
        .arg(config)
        .spawn();
    scene.wait_until("the service", || scene.pid_in_pidfile().is_some());
    let daemon = scene.daemon();
    assert_eq!(daemon.pid(), running.pid());
    assert!(is_closed_on_exec(&daemon, 400));
}

#[test]
fn what_step_1_has_closed_cannot_be_taken_over() {
    let scene = Scene::new();
    let config = scene.file("config", "400\n");
    service(&scene)
        .arg("--config")
        .arg(config)
        .run()
        .assert_exited(78)
        .assert_says(&[
            "descriptor 400",
            "it was not inherited, or step 1 has closed it",
        ]);
    scene.assert_no_leftovers();
}

#[test]
fn keep_fds_in_configure_comes_too_late() {
    let scene = Scene::new();
    service(&scene)
        .env("LATE", "400")
        .run()
        .assert_exited(2)
        .assert_says(&[
            "keep_fds 400: it was closed before `configure`",
            "`keep_fd`",
        ]);
    scene.assert_no_leftovers();
}

#[test]
fn an_argument_alone_keeps_nothing() {
    let scene = Scene::new();
    // The report's name ends in the number of a descriptor.
    let report = scene.path("400");
    service(&scene)
        .arg("--report")
        .arg(report)
        .run()
        .assert_ready();
    assert_kept(&scene, &scene.daemon(), &[300]);
}

#[test]
fn what_is_to_be_kept_must_be_open() {
    let scene = Scene::new();
    let started = scene
        .launch(bin("fds"))
        .arg("--pidfile")
        .arg(scene.pidfile())
        .run();
    started
        .assert_exited(2)
        .assert_says(&["invalid setting: keep_fds 300: the descriptor is not open"]);
    for value in ["301", "1", "", "x", "-1"] {
        service(&scene)
            .env("TUN_FD", value)
            .run()
            .assert_exited(2)
            .assert_says(&[&format!(
                "invalid setting: keep_fds_from \"TUN_FD\"=\"{value}\""
            )]);
    }
    scene.assert_no_leftovers();
}
