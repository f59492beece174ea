//! E26 and E27: what is left of a pidfile when its service has ended.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use daemon_harness::{Launch, PATIENCE, Proc, Scene, require};
use daemon_tests::svc::{in_foreground, named_daemon, ready_daemon, service};

use crate::{content, naming};

/// A service whose main loop does this, until it has ended by itself.
fn ends_by_itself(scene: &Scene, action: &str) {
    let started = service(scene).arg(format!("main:{action}")).run();
    // It may have ended before its starter looked.
    let quick = started.stderr.contains("when it had just become ready");
    assert!(started.status.success() || quick, "{started:?}");
    scene.wait_until("its end", || scene.processes().is_empty());
}

#[test]
fn e26_it_is_gone_after_every_orderly_end() {
    let panics = ["panic=a fault", "panicking_thread"];
    for action in ["status=returns", "exit=0", "exit=3", "err=an error"]
        .into_iter()
        .chain(panics)
    {
        let scene = Scene::new();
        ends_by_itself(&scene, action);
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "after {action}");
    }
}

#[test]
fn e26_it_is_gone_after_a_signal_although_the_service_asked_for_none() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let scene = Scene::new();
        let daemon = ready_daemon(&scene, service(&scene).arg("main:hang"));
        daemon.signal(signal);
        assert_eq!(scene.exit_status(&daemon).signal(), Some(signal));
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "after signal {signal}");
    }
}

#[test]
fn e26_it_is_gone_after_a_signal_that_the_service_asked_for() {
    for (signal, status) in [
        (libc::SIGTERM, Ok(0)),
        (libc::SIGINT, Ok(0)),
        (libc::SIGHUP, Err(libc::SIGHUP)),
    ] {
        let scene = Scene::new();
        let daemon = ready_daemon(&scene, service(&scene).arg("init:attend"));
        daemon.signal(signal);
        let ended = scene.exit_status(&daemon);
        assert_eq!(ended.code().ok_or_else(|| ended.signal().unwrap()), status);
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "after signal {signal}");
    }
}

#[test]
fn e26_it_is_gone_after_a_failed_start() {
    for action in [
        "configure:err=no",
        "privileged_init:err=no",
        "init:err=no",
        "init:panic=no",
        "init:exit=7",
        "init:kill=9",
    ] {
        let scene = Scene::new();
        scene
            .launch(daemon_harness::bin("svc"))
            .set("pidfile", scene.pidfile())
            .arg(action)
            .run();
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists(), "after {action}");
    }
}

#[test]
fn e26_a_dead_services_file_hinders_nobody() {
    for signal in [libc::SIGKILL, libc::SIGABRT] {
        let scene = Scene::new();
        let daemon = ready_daemon(&scene, service(&scene));
        assert!(!scene.lock_holders(scene.pidfile()).is_empty());
        daemon.signal(signal);
        assert_eq!(scene.exit_status(&daemon).signal(), Some(signal));
        scene.assert_no_leftovers();
        scene.stop(&ready_daemon(&scene, service(&scene)));
        assert!(!scene.pidfile().exists());
    }
}

#[test]
fn e26_where_the_daemon_may_not_remove_it_it_is_left_with_its_lock_free() {
    require!(root());
    for action in ["main:exit=0", "main:hang", "main:shutdown"] {
        let scene = Scene::new();
        let start = || {
            service(&scene)
                .set("user", "nobody")
                .arg(action)
                .run()
                .status
                .success()
        };
        for _round in 0..2 {
            assert!(start());
            for daemon in scene.processes() {
                daemon.signal(libc::SIGTERM);
            }
            scene.wait_until("its end", || scene.processes().is_empty());
            scene.assert_no_leftovers();
            assert!(scene.pidfile().exists() && scene.lock_holders(scene.pidfile()).is_empty());
        }
    }
}

#[test]
fn e26_in_the_foreground_it_is_gone_too() {
    for (main, signal) in [
        ("shutdown", libc::SIGTERM),
        ("hang", libc::SIGTERM),
        ("hang", libc::SIGHUP),
    ] {
        let scene = Scene::new();
        let running = in_foreground(&scene, service(&scene), main);
        running.signal(signal);
        running.wait();
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists());
    }
}

#[test]
fn e26_from_inside_a_chroot_nothing_is_removed_by_path() {
    require!(root());
    let scene = Scene::new();
    let jail = scene.dir("jail", 0o755, None);
    // The very same file is what the path means inside, so that only the rule protects it.
    let inside = jail.join(scene.pidfile().strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    let daemon = ready_daemon(&scene, service(&scene).set("chroot", &jail));
    fs::hard_link(scene.pidfile(), &inside).unwrap();
    scene.stop(&daemon);
    assert_eq!(
        [content(&inside), content(scene.pidfile())],
        [naming(daemon.pid()), naming(daemon.pid())]
    );
    assert!(scene.lock_holders(scene.pidfile()).is_empty());
}

/// The daemon and the one child that it has.
fn family(scene: &Scene, launch: Launch<'_>) -> (Proc, Proc) {
    launch.run().assert_ready();
    let daemon = named_daemon(scene);
    scene.wait_until("the child", || scene.processes().len() == 2);
    let child = scene
        .processes()
        .into_iter()
        .find(|process| process.pid() != daemon.pid());
    (daemon, child.expect("a child"))
}

#[test]
fn e26_a_forked_child_that_exits_does_not_remove_it() {
    for hook in ["init", "main"] {
        let scene = Scene::new();
        let forked = scene.path("forked").display().to_string();
        let launch = service(&scene)
            .arg(format!("{hook}:fork_exit"))
            .arg(format!("{hook}:write={forked}"));
        launch.arg("main:shutdown").run().assert_ready();
        scene.wait_until("the child's end", || scene.path("forked").exists());
        let daemon = scene.daemon();
        assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
        scene.stop(&daemon);
        assert!(!scene.pidfile().exists());
    }
}

#[test]
fn e26_a_forked_child_that_is_terminated_does_not_remove_it() {
    for attends in [&["init:attend"][..], &[]] {
        let scene = Scene::new();
        let launch = service(&scene)
            .args(attends)
            .arg("init:fork")
            .arg("main:hang");
        let (daemon, child) = family(&scene, launch);
        child.signal(libc::SIGTERM);
        child.wait_gone(PATIENCE);
        assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
        assert!(!daemon.is_gone());
    }
}

#[test]
fn e27_what_the_daemon_executes_does_not_hold_the_lock() {
    let scene = Scene::new();
    let (daemon, child) = family(&scene, service(&scene).arg("init:spawn=exec sleep 1000"));
    scene.wait_until("the exec", || child.name().as_deref() == Some("sleep"));
    assert!(child.descriptor_of(scene.pidfile()).is_none());
    daemon.kill();
    scene.exit_status(&daemon);
    assert!(scene.lock_holders(scene.pidfile()).is_empty());
    service(&scene).run().assert_ready();
    assert!(!child.is_gone());
}

#[test]
fn e27_nor_what_configure_has_executed() {
    let scene = Scene::new();
    scene.file("service.pid", naming(999_999_999));
    let (daemon, child) = family(
        &scene,
        service(&scene).arg("configure:spawn=exec sleep 1000 >/dev/null 2>&1"),
    );
    scene.wait_until("the exec", || child.name().as_deref() == Some("sleep"));
    assert!(child.descriptor_of(scene.pidfile()).is_none());
    scene.stop(&daemon);
    assert!(scene.lock_holders(scene.pidfile()).is_empty() && !child.is_gone());
}

#[test]
fn e26_a_service_that_has_no_descriptor_left_removes_it_too() {
    const MOST: libc::rlim_t = 100;
    for (socket, waits) in [
        ("", "hang"),
        ("", "shutdown"),
        ("control_socket=", "hang"),
        ("control_socket=", "shutdown"),
    ] {
        let scene = Scene::new();
        let launch = service(&scene)
            .rlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, MOST, MOST)
            .arg(socket);
        let launch = if waits == "shutdown" {
            launch.arg("init:attend")
        } else {
            launch
        };
        launch
            .arg("main:exhaust")
            .arg(format!("main:{waits}"))
            .run()
            .assert_ready();
        let daemon = scene.daemon();
        // Where it waits for a caller, accept(2) may have reserved one.
        let least = MOST - libc::rlim_t::from(!socket.is_empty());
        scene.wait_until("the last descriptor", || {
            daemon.descriptors().len() as libc::rlim_t >= least
        });
        scene.stop(&daemon);
        let left: Vec<_> = fs::read_dir(scene.path(""))
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "{socket}{waits}: {left:?}");
    }
}
