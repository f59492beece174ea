//! D5: supervisors that are certain are known; where one may be, the message says what to do.

use std::fs;

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{Scene, bin, require};

use crate::shells::{assert_detaches, assert_stays, below};

#[test]
fn d5_runtimes_of_containers_and_supervisors_are_known_by_their_names() {
    let scene = Scene::new();
    for name in [
        "containerd-shim",
        "containerd-shim-runc-v2",
        "conmon",
        "circusd",
        "PM2 v5.3.0: God Daemon",
    ] {
        assert_stays(&scene, below(&scene, name));
    }
    // Names that are like them, or that others have.
    for name in [
        "containerd",
        "conmonitor",
        "circus",
        "PM2",
        "daemon",
        "daemonize",
        "python3",
        "node",
    ] {
        assert_detaches(&scene, below(&scene, name));
    }
}

#[test]
fn d5_supervisord_is_known_however_it_is_started() {
    require!(machine(), tool("supervisord"));
    let settings = "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\n[program:ctl]\nautorestart=true\nstartsecs=0\n";
    let program = "command=/usr/local/bin/ctl\nenvironment=CTL=\"pidfile=/run/ctl.pid\"\n";
    let machine = Machine::boot(
        crate::ctl::root().text("/etc/supervisor/x.conf", format!("{settings}{program}")),
    );
    for command in [
        "/usr/bin/python3 -m supervisor.supervisord",
        "/usr/bin/python3 -u /usr/bin/supervisord",
        "/usr/bin/python3 -W ignore /usr/bin/supervisord",
        "supervisord",
    ] {
        machine
            .sh(&format!(
                "{command} -c /etc/supervisor/x.conf >/dev/null 2>&1 & echo $! >/run/supervisord"
            ))
            .expect_success();
        let supervisord = machine.wait_for_text("/run/supervisord");
        let pid = wait_until("the service", || crate::ctl::pid(&machine)).to_string();
        let parent = machine
            .sh(&format!("ps -o ppid= -p {pid}"))
            .expect_success();
        assert_eq!(parent.trim(), supervisord.trim(), "{command}: detached");
        machine.sh(&format!("kill {supervisord}")).expect_success();
        wait_until("their end", || machine.pids("ctl").is_empty().then_some(()));
    }
    // The variable alone says nothing: a shell below another program has it, too.
    let other = "export SUPERVISOR_ENABLED=1 CTL=pidfile=/run/ctl.pid; ctl; exit $?";
    machine.sh(other).expect_success();
    let pid = crate::ctl::pid(&machine).expect("a pidfile").to_string();
    assert_ne!(
        machine
            .sh(&format!("ps -o sid= -p {pid}"))
            .expect_success()
            .trim(),
        pid
    );
    assert_eq!(
        machine
            .sh(&format!("ps -o ppid= -p {pid}"))
            .expect_success()
            .trim(),
        "1"
    );
}

#[test]
fn d5_daemon_that_was_given_this_command_is_known() {
    require!(
        machine(),
        that(
            std::path::Path::new("/usr/bin/daemon").exists(),
            "needs the package daemon"
        )
    );
    let machine = Machine::boot(crate::ctl::root());
    machine
        .sh("export CTL=pidfile=/run/ctl.pid; exec daemon --respawn --name=x -- /usr/local/bin/ctl")
        .expect_success();
    let first = wait_until("the service", || crate::ctl::pid(&machine));
    let parent = machine
        .sh(&format!("ps -o comm= -p $(ps -o ppid= -p {first})"))
        .expect_success();
    assert_eq!(parent.trim(), "daemon");
    // It is kept, so the control commands leave it alone, and it comes back by itself.
    let refused = crate::ctl::ctl(&machine, "restart");
    assert_eq!(refused.status, 1, "{refused}");
    assert_eq!(crate::ctl::ctl(&machine, "stop").status, 1);
    assert_eq!(
        (machine.pids("ctl"), crate::ctl::pid(&machine)),
        (vec![first], Some(first))
    );
    machine.sh("daemon --stop --name=x").expect_success();
    wait_until("the end", || machine.pids("ctl").is_empty().then_some(()));
}

#[test]
fn d5_a_second_start_by_what_may_be_a_supervisor_says_what_to_do() {
    let scene = Scene::new();
    let start = |name: &str| {
        fs::copy("/bin/dash", scene.path(name)).expect("dash");
        let launch = scene
            .launch(scene.path(name))
            .args(["-c", "\"$@\"; exit $?", "sh"]);
        launch.arg(bin("svc")).set("pidfile", scene.pidfile())
    };
    start("respawner").run().assert_ready();
    let refused = start("respawner").run();
    refused.assert_exited(80).assert_says(&[
        "already running",
        "if respawner (pid ",
        "DAEMON_MODE=foreground",
    ]);
    // A person knows, and so does a program that says what it wants.
    for quiet in [
        start("bash").run(),
        start("respawner").env("DAEMON_MODE", "detach").run(),
    ] {
        quiet.assert_exited(80);
        assert!(!quiet.stderr.contains("DAEMON_MODE"), "{}", quiet.stderr);
    }
    scene.daemon().kill();
}

#[test]
fn d5_an_init_that_respawns_it_is_told() {
    require!(
        machine(),
        that(
            std::path::Path::new("/bin/busybox").exists(),
            "needs busybox"
        )
    );
    let inittab = "::respawn:/usr/local/bin/svc pidfile=/run/svc.pid\n";
    let root = Root::new()
        .copy("/usr/local/bin/svc", bin("svc"))
        .copy("/usr/local/sbin/init", "/bin/busybox")
        .text("/etc/inittab", inittab);
    let machine = Machine::boot_with(root, ["/usr/local/sbin/init"]);
    wait_until("the hint", || {
        machine
            .console()
            .contains("if init (pid 1) supervises it")
            .then_some(())
    });
}

#[test]
fn d5_busybox_as_pid_1_is_told_too() {
    require!(
        machine(),
        that(
            std::path::Path::new("/bin/busybox").exists(),
            "needs busybox"
        )
    );
    let root = Root::new().copy("/usr/local/bin/svc", bin("svc")).text(
        "/etc/inittab",
        "::respawn:/usr/local/bin/svc pidfile=/run/svc.pid\n",
    );
    let machine = Machine::boot_with(root, ["busybox", "init"]);
    wait_until("the hint", || {
        machine
            .console()
            .contains("if busybox (pid 1) supervises it")
            .then_some(())
    });
}

#[test]
fn d5_a_name_from_another_pid_namespaces_proc_is_not_believed() {
    require!(machine());
    // In the new pid namespace the shell has the number of the machine's PID 1, which has another
    // name.
    let machine = Machine::boot(Root::new().copy("/usr/local/bin/svc", bin("svc")));
    let twice = "svc pidfile=/run/svc.pid; svc pidfile=/run/svc.pid; exit $?";
    let second = machine.sh(&format!(
        "unshare --pid --fork --kill-child sh -c '{twice}'; exit $?"
    ));
    assert_eq!(second.status, 80, "{second}");
    assert!(second.stderr.contains("if the parent (pid 1)"), "{second}");
    assert!(!second.stderr.contains("if bash"), "{second}");
}
