//! D2: PID 1 leaves no daemon behind, and what it runs is not restarted without it.

use std::process::Stdio;

use daemon_harness::managers::{Machine, Pid1, Ran, Shim, wait_until};
use daemon_harness::require;

use crate::ctl;
use crate::greeter::root;

/// The service with control commands, as the command of a container.
fn container(shim: Shim, settings: &str, command: &[&str]) -> Pid1 {
    let setting = format!("CTL=pidfile=/run/ctl.pid listen=/run/ctl.address {settings}");
    let command = ["env", &setting].into_iter().chain(command.iter().copied());
    Pid1::boot(ctl::root(), shim, command)
}

/// As `docker exec` does: the command has no parent in the container.
fn exec(machine: &Machine, command: &[&str]) -> Ran {
    let mut command = machine.exec(command);
    command.env("CTL", "pidfile=/run/ctl.pid listen=/run/ctl.address");
    Ran::of(command)
}

#[test]
fn d2_pid_1_does_not_detach() {
    require!(machine());
    let detached = Pid1::boot(
        root(),
        Shim::None,
        ["env", "DAEMON_MODE=detach", "svc", "pidfile=/run/svc.pid"],
    );
    assert_eq!(detached.wait_for_end(), 2, "{}", detached.console());
    assert!(
        detached.console().contains("PID 1"),
        "{}",
        detached.console()
    );
    let by_setting = Pid1::boot(root(), Shim::None, ["svc", "mode=detach"]);
    assert_eq!(by_setting.wait_for_end(), 2, "{}", by_setting.console());
}

#[test]
fn d2_pid_1_restarts_nothing() {
    require!(machine());
    let machine = container(Shim::None, "", &["ctl", "restart"]);
    assert_eq!(machine.wait_for_end(), 1, "{}", machine.console());
    assert!(
        machine.console().contains("restart the container"),
        "{}",
        machine.console()
    );
}

#[test]
fn d2_pid_1_runs_commands_that_start_nothing() {
    require!(machine());
    let machine = container(
        Shim::None,
        "",
        &["env", "DAEMON_MODE=detach", "ctl", "status"],
    );
    assert_eq!(machine.wait_for_end(), 3, "{}", machine.console());
}

#[test]
fn d2_what_pid_1_runs_is_not_restarted_by_docker_exec() {
    require!(machine(), tool("tini"), tool("dumb-init"));
    for shim in [
        Shim::None,
        Shim::Tini,
        Shim::DockerInit,
        Shim::DumbInit,
        Shim::Shell,
    ] {
        // A shell is not known to supervise.
        let command: &[&str] = if shim == Shim::Shell {
            &["ctl", "run"]
        } else {
            &["ctl"]
        };
        let machine = container(shim, "", command);
        let pid = machine.wait_for_text("/run/ctl.pid");
        wait_until("readiness", || {
            (exec(&machine, &["ctl", "status"]).status == 0).then_some(())
        });
        let service = machine.pids("ctl");

        let refused = exec(&machine, &["ctl", "restart"]);
        assert_eq!(refused.status, 1, "{shim:?}: {refused}");
        assert!(
            refused.stderr.contains("PID 1") && refused.stderr.contains("restart the container"),
            "{refused}"
        );
        assert_eq!(machine.pids("ctl"), service, "{shim:?}: the same processes");
        assert_eq!(machine.wait_for_text("/run/ctl.pid"), pid, "{shim:?}");
        let status = exec(&machine, &["ctl", "status"]).expect_success();
        assert!(status.contains("PID 1"), "{shim:?}: {status}");

        // To end it is to end the container, which is what is asked for.
        let mut stop = machine.exec(["ctl", "stop"]);
        stop.env("CTL", "pidfile=/run/ctl.pid")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        _ = stop.status();
        assert_eq!(machine.wait_for_end(), 0, "{shim:?}: {}", machine.console());
    }
}

#[test]
fn d2_a_detached_daemon_below_pid_1_is_restarted_as_ever() {
    require!(machine());
    let machine = Machine::boot(ctl::root());
    let ctl = |command: &str| {
        let settings = "CTL='pidfile=/run/ctl.pid listen=/run/ctl.address'";
        machine.sh(&format!("{settings} ctl {command}"))
    };
    ctl("start").expect_success();
    let old = machine.wait_for_text("/run/ctl.pid");
    ctl("restart").expect_success();
    let new = machine.wait_for_text("/run/ctl.pid");
    assert_ne!(old, new);
    wait_until("one process", || {
        (machine
            .pids("ctl")
            .iter()
            .map(u32::to_string)
            .eq([new.trim()]))
        .then_some(())
    });
    ctl("stop").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

/// Has a machine run a command in a container below it, which shares the directory of its pidfile.
fn contain(machine: &Machine, command: &str) {
    let contained = format!(
        "export 'CTL=pidfile=/run/ctl.pid listen=/run/ctl.address'; unshare --pid --fork --kill-child --mount-proc {command} </dev/null >/run/said 2>&1 &"
    );
    machine.sh(&contained).expect_success();
}

#[test]
fn d2_a_contained_service_is_not_moved_out_by_a_restart_from_the_host() {
    require!(machine(), tool("tini"), tool("dumb-init"));
    for command in [
        "ctl",
        "tini -- ctl",
        "dumb-init -- ctl",
        "sh -c 'ctl run; exit $?'",
        "sh -c 'DAEMON_MODE=detach ctl start; sleep 1000; exit'",
    ] {
        let machine = Machine::boot(ctl::root());
        let ctl = |command: &str| {
            let settings = "CTL='pidfile=/run/ctl.pid listen=/run/ctl.address'";
            machine.sh(&format!("{settings} ctl {command}; exit $?"))
        };
        contain(&machine, command);
        machine.wait_for_text("/run/ctl.address");
        wait_until("it runs", || (ctl("status").status == 0).then_some(()));
        let inside = machine.wait_for_text("/run/ctl.pid");
        let before = machine.pids("ctl");
        let refused = ctl("restart");
        assert_eq!(refused.status, 1, "{command}: {refused}");
        assert!(refused.stderr.contains("container"), "{command}: {refused}");
        assert_eq!(
            (machine.pids("ctl"), machine.wait_for_text("/run/ctl.pid")),
            (before, inside),
            "{command}"
        );
        ctl("stop").expect_success();
        wait_until("its end", || machine.pids("ctl").is_empty().then_some(()));
    }
}
