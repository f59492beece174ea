//! `tests/daemon_tests.rs`, `checked_daemon_tests.rs`, `daemon_waitid_denied.rs` and what
//! `sigchld_ignored.rs`, `chdir_tests.rs`, `stdio_redirect_tests.rs`, `fork_tests.rs`, `pid_tests.rs`
//! and `integration_tests.rs` say of a daemon.

use std::fs;
use std::path::Path;

use daemon_harness::{Launch, Running, Scene, bin, errno_text, require};
use daemon_tests::svc::{at_barrier, barrier, refused, service, started};

use super::at_work;

#[test]
fn daemon_creates_detached_process() {
    let scene = Scene::new();
    let marker = scene.path("marker");
    let launch = service(&scene).current_dir(scene.path(""));
    let write_pid = format!("echo $PPID > {}", marker.display());
    let daemon = at_work(&scene, launch.set("main:sh", write_pid));
    let written = fs::read_to_string(marker).unwrap();
    assert_eq!(written, format!("{}\n", daemon.pid()));
    assert_eq!(daemon.cwd(), Path::new("/"));
}

/// `nochdir`: the directory is said.
#[test]
fn daemon_with_nochdir() {
    let scene = Scene::new();
    let here = scene.dir("here", 0o755, None);
    let launch = service(&scene).current_dir(&here);
    let daemon = started(launch.set("working_directory", &here), &scene);
    assert_eq!(daemon.cwd(), here);
}

/// Not the session's leader, nor its group's.
#[test]
fn daemon_process_group() {
    let scene = Scene::new();
    let starter = service(&scene).run();
    starter.assert_ready();
    let daemon = scene.daemon();
    let stat = daemon.stat();
    assert_ne!(stat.pgrp, daemon.pid());
    assert_ne!(stat.session, daemon.pid());
    assert!(stat.pgrp > 0 && stat.pgrp != starter.pid);
}

#[test]
fn daemon_with_command_execution() {
    let scene = Scene::new();
    let output = scene.path("command.output");
    let command = format!("echo 'hello from daemon' > {}", output.display());
    at_work(&scene, service(&scene).set("main:sh", command));
    assert_eq!(fs::read_to_string(output).unwrap(), "hello from daemon\n");
}

#[test]
fn daemon_no_controlling_terminal() {
    let scene = Scene::new();
    let launch = service(&scene).on_terminal();
    let launch = launch.arg("main:sh=! (: </dev/tty) 2>/dev/null");
    assert_eq!(at_work(&scene, launch).stat().tty_nr, 0);
}

/// What comes after the start is done once, by the daemon.
#[test]
fn daemon_never_returns_parent() {
    let scene = Scene::new();
    let notes = scene.path("notes");
    let note = format!("{}:child", notes.display());
    at_work(&scene, service(&scene).set("main:note", note));
    assert_eq!(fs::read_to_string(notes).unwrap(), "child\n");
}

/// `getppid_after_parent_exits`: here the keeper stands for init.
#[test]
fn double_fork_daemon_pattern() {
    let scene = Scene::new();
    let starter = service(&scene).run();
    starter.assert_ready();
    let daemon = scene.daemon();
    assert_ne!(daemon.pid(), starter.pid);
    assert!(scene.is_top(&daemon));
}

#[test]
fn parent_returns_only_after_detached_daemon_is_ready() {
    let scene = Scene::new();
    let (hook, marker) = (barrier(&scene, "hook"), scene.path("ready"));
    let launch = service(&scene)
        .set("init:cat", &hook)
        .set("init:write", &marker);
    let starter = launch.spawn();
    let held = at_barrier(&scene, &hook);
    assert!(starter.is_running() && !marker.exists());
    drop(held);
    starter.wait().assert_ready();
    assert!(marker.is_file());
    let daemon = scene.daemon();
    for number in 0..=2 {
        let target = &daemon.descriptors()[&number].target;
        assert_eq!(target, Path::new("/dev/null"));
    }
}

#[test]
fn failure_after_detachment_preserves_stage_and_errno() {
    let scene = Scene::new();
    let launch = service(&scene).arg("working_directory=/missing");
    refused(launch, &scene, 91, &["/missing", &errno_text(libc::ENOENT)]);
}

#[test]
fn descriptor_plan_failure_is_reported_before_fork() {
    let scene = Scene::new();
    // It keeps 300, which is not open.
    let launch = scene.launch(bin("fds")).arg("--pidfile");
    refused(launch.arg(scene.pidfile()), &scene, 2, &["keep_fds 300"]);
}

#[test]
fn daemon_can_report_initialization_failure() {
    let scene = Scene::new();
    let launch = service(&scene).arg("init:cat=/missing");
    refused(launch, &scene, 1, &[&errno_text(libc::ENOENT)]);
}

fn deferred(scene: &Scene) -> Launch<'_> {
    scene
        .launch(bin("deferred"))
        .set("pidfile", scene.pidfile())
}

/// Theirs then lives on; here it is ended.
#[test]
fn dropped_notifier_is_reported_as_abandoned_startup() {
    let scene = Scene::new();
    let words = "it dropped `Ready` without calling `notify`";
    refused(deferred(&scene).args(["drop", "hang"]), &scene, 1, &[words]);
    let words = "exited with status 3";
    let launch = deferred(&scene).args(["drop", "exit=3"]);
    refused(launch, &scene, 3, &[words]);
}

#[test]
fn startup_timeout_kills_the_owned_daemon_group() {
    let scene = Scene::new();
    let launch = service(&scene).set("start_timeout", "25");
    let launch = launch.arg("init:spawn=sleep 1000").arg("init:hang");
    refused(launch, &scene, 124, &["not ready"]);
}

#[test]
fn preserved_descriptor_survives_detachment() {
    let scene = Scene::new();
    let file = scene.file("inherited", "");
    let launch = scene.launch(bin("fds")).descriptor(300, &file);
    let daemon = started(launch.arg("--pidfile").arg(scene.pidfile()), &scene);
    assert_eq!(daemon.descriptors()[&300].target, file);
}

/// A starter that has a handler for SIGUSR1 and gets that all the time.
#[test]
fn startup_handshake_retries_repeated_eintr() {
    let scene = Scene::new();
    let hook = barrier(&scene, "hook");
    let launch = late(&scene).arg(format!("before:handler={}", libc::SIGUSR1));
    let starter = launch.set("init:cat", &hook).spawn();
    let held = at_barrier(&scene, &hook);
    for _ in 0..8 {
        starter.signal(libc::SIGUSR1);
        wait_until_asleep(&scene, &starter);
    }
    drop(held);
    starter.wait().assert_ready();
}

/// The program that does something before its start.
fn late(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("late")).set("pidfile", scene.pidfile())
}

/// Waits until the process has handled its signals, and waits again.
fn wait_until_asleep(scene: &Scene, running: &Running<'_>) {
    let process = running.process();
    scene.wait_until("a starter that waits", || {
        let (status, stat) = (process.status(), process.stat());
        status.sigpnd == 0 && status.shdpnd == 0 && stat.state == 'S'
    });
}

/// Theirs is successful where waitid(2) is denied, and then kills nobody. Here nobody could tell a
/// death, so the start fails, and nothing is left.
#[test]
fn waitid_denied() {
    require!(root());
    let scene = Scene::new();
    let launch = service(&scene).denying(libc::SYS_waitid, libc::EACCES);
    refused(launch, &scene, 95, &["cannot wait for the daemon"]);
}

/// Theirs refuses to start then.
#[test]
fn children_that_nobody_can_wait_for() {
    let scene = Scene::new();
    let daemon = started(service(&scene).ignoring([libc::SIGCHLD]), &scene);
    assert_eq!(daemon.ignored(), [libc::SIGPIPE]);
    let scene = Scene::new();
    let launch = service(&scene).ignoring([libc::SIGCHLD]);
    refused(launch.arg("init:exit=7"), &scene, 7, &["status 7"]);
}

/// `chdir_with_env_manipulation`, `chdir_concurrent_forks`: each is in `/`, whatever `PWD` says.
#[test]
fn chdir_of_several_at_once() {
    let scene = Scene::new();
    let starters: Vec<_> = (0..3)
        .map(|_| {
            scene
                .launch(bin("svc"))
                .env("PWD", "/some/fake/path")
                .spawn()
        })
        .collect();
    for starter in starters {
        starter.wait().assert_ready();
    }
    let daemons = scene.processes();
    assert_eq!(daemons.len(), 3);
    assert!(daemons.iter().all(|daemon| daemon.cwd() == Path::new("/")));
}

/// `redirect_stdio_prevents_fd_reuse`, `redirect_stdio_println_safety`: a file that the daemon
/// opens is none of its streams, also where they were closed before.
#[test]
fn what_is_printed_is_in_no_file() {
    let scene = Scene::new();
    let data = scene.file("data", "");
    let script = "exec \"$@\" <&- >&- 2>&-";
    let launch = scene.launch("/bin/sh").args(["-c", script, "sh"]);
    let launch = launch.arg(bin("svc")).set("init:open", &data);
    let daemon = at_work(&scene, launch.arg("main:print=debug message\n"));
    let (number, _) = daemon.descriptor_of(&data).unwrap();
    assert!(number > 2);
    scene.stop(&daemon);
    assert_eq!(fs::read_to_string(data).unwrap(), "");
}

/// `fork_child_inherits_environment`: what is named.
#[test]
fn environment() {
    let scene = Scene::new();
    let environ = scene.path("environ");
    let launch = service(&scene)
        .env("FORK_TEST_VAR", "test_value_12345")
        .env("OTHER", "1");
    let launch = launch.set("keep_env", "FORK_TEST_VAR");
    at_work(&scene, launch.set("main:environ", &environ));
    let environ = fs::read_to_string(environ).unwrap();
    let entries: Vec<&str> = environ.split('\0').collect();
    assert!(entries.contains(&"FORK_TEST_VAR=test_value_12345"));
    assert!(!environ.contains("OTHER"));
}

/// `fork_multiple_children`, `waitpid_multiple_exit_codes`: the daemon can wait for its children.
#[test]
fn children_of_the_daemon() {
    let scene = Scene::new();
    at_work(&scene, service(&scene).arg("main:children=3"));
}
