//! PID 1 of a container, shims, and callers who wait for the end of the output: cron, `ssh host
//! command`, `docker exec`.

use std::fs;

use daemon_harness::managers::{Cron, Machine, Pid1, Ran, Shim, wait_until};
use daemon_harness::require;

use crate::greeter::{assert_greets, greeter, root, status_of, wait_until_it_greets};

/// A container whose command is `svc` with these arguments.
fn svc(arguments: &[&str]) -> Pid1 {
    Pid1::boot(
        root(),
        Shim::None,
        ["/usr/local/bin/svc"].iter().chain(arguments).copied(),
    )
}

fn wait_for_console(machine: &Machine, text: &str) {
    wait_until(text, || machine.console().contains(text).then_some(()));
}

fn zombies(machine: &Machine) -> usize {
    let processes = fs::read_dir(machine.path("/proc"))
        .expect("/proc")
        .flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(") Z ")).count()
}

#[test]
fn the_command_of_a_container_is_pid_1_and_ends_when_docker_stops_it() {
    require!(machine());
    let entry = example!("container/Dockerfile")
        .lines()
        .find_map(|line| line.strip_prefix("ENTRYPOINT "));
    let command: Vec<String> =
        serde_json::from_str(entry.expect("an entry point")).expect("the exec form");
    let machine = Pid1::boot(root(), Shim::None, command.iter().map(String::as_str));
    wait_until_it_greets(&machine);
    assert_eq!(
        machine.pids("greeter").len(),
        2,
        "PID 1 and its child, the service"
    );
    machine.signal_init("TERM");
    assert_eq!(machine.wait_for_end(), 0);
}

#[test]
fn pid_1_ends_as_the_service_does() {
    require!(machine());
    for (action, status) in [
        ("main:exit=7", 7),
        ("main:kill=9", 137),
        ("main:abort", 134),
        ("init:err=wrong", 1),
    ] {
        let machine = svc(&[action]);
        assert_eq!(machine.wait_for_end(), status, "{action}");
        assert_eq!(
            machine.console().contains("wrong"),
            status == 1,
            "{}",
            machine.console()
        );
    }
}

#[test]
fn pid_1_forwards_signals() {
    require!(machine());
    let machine = svc(&[
        "init:reloads",
        "init:expect_shutdown",
        "main:eprintln=ready",
        "main:shutdown",
        "main:exit=3",
    ]);
    wait_for_console(&machine, "ready");
    machine.signal_init("HUP");
    wait_for_console(&machine, "reloaded");
    machine.signal_init("INT");
    assert_eq!(machine.wait_for_end(), 3);
}

#[test]
fn e47_pid_1_reaps_orphans_and_the_service_has_its_children_to_itself() {
    require!(machine());
    let orphans = "for i in 1 2 3 4 5; do for j in 1 2 3 4; do (sleep 0.$i$j &); done; done";
    let machine = svc(&[
        &format!("init:spawn={orphans}"),
        "init:expect_shutdown",
        "main:children=200",
        "main:eprintln=all of them",
        "main:shutdown",
    ]);
    wait_for_console(&machine, "all of them");
    wait_until("the orphans' end", || {
        machine.pids("sleep").is_empty().then_some(())
    });
    // What `spawn` started is the service's own child, which does not wait for it.
    wait_until("the zombies' end", || {
        (zombies(&machine) <= 1).then_some(())
    });
    machine.signal_init("TERM");
    assert_eq!(machine.wait_for_end(), 0);
}

#[test]
fn e46_under_a_shim_it_stays_in_the_foreground() {
    require!(machine(), tool("tini"), tool("dumb-init"));
    for shim in [Shim::Tini, Shim::DockerInit, Shim::DumbInit] {
        let machine = Pid1::boot(root(), shim, ["greeter"]);
        wait_until_it_greets(&machine);
        assert_eq!(
            status_of(&machine, greeter(&machine), "PPid"),
            "1",
            "{shim:?}"
        );
        machine.signal_init("TERM");
        assert_eq!(machine.wait_for_end(), 0, "{shim:?}");
    }
}

#[test]
fn under_a_shell_as_pid_1_it_stays_if_it_is_told_to() {
    require!(machine());
    let machine = Pid1::boot(
        root(),
        Shim::Shell,
        ["env", "DAEMON_MODE=foreground", "greeter"],
    );
    wait_until_it_greets(&machine);
    assert_eq!(status_of(&machine, greeter(&machine), "PPid"), "1");
    machine.sh("kill $(pidof greeter)"); // whose own status may be lost as the container ends
    assert_eq!(machine.wait_for_end(), 0);
}

#[test]
fn e40_a_parent_that_is_pid_1_means_nothing() {
    require!(machine());
    let machine = Machine::boot(root());
    // An orphan, whose parent is PID 1 when it starts.
    let script = r#"
        pid=$(sh -c 'echo $PPID')
        until grep -q "^PPid:.1$" /proc/$pid/status; do sleep 0.01; done
        exec svc pidfile=/run/svc.pid
    "#;
    machine
        .sh(&format!("(sh -c '{}' &)", script.replace('\'', r"'\''")))
        .expect_success();
    let pid = machine.wait_for_text("/run/svc.pid");
    wait_until("the starter's end", || {
        machine
            .pids("svc")
            .iter()
            .map(u32::to_string)
            .eq([pid.trim()])
            .then_some(())
    });
    assert_ne!(
        status_of(&machine, pid.trim().parse().expect("a pid"), "NSsid"),
        pid.trim()
    );
}

#[test]
fn what_docker_exec_starts_stays_in_the_foreground() {
    require!(machine());
    let machine = Machine::boot(root());
    // Its parent is outside, and reads 0.
    let command = ["/usr/local/bin/svc", "init:eprintln=there", "main:exit=5"];
    let ran = Ran::of(machine.exec(command));
    assert_eq!((ran.status, ran.stderr.as_str()), (5, "there\n"));
}

#[test]
fn launchd_is_known_by_its_variable_and_its_pid() {
    require!(machine());
    let command = [
        "env",
        "XPC_SERVICE_NAME=org.example.svc",
        "svc",
        "main:exit=5",
    ];
    // Executed by `env` as PID 1's child: in the foreground, so that its status is seen.
    let machine = Pid1::boot(root(), Shim::Shell, command);
    assert_eq!(machine.wait_for_end(), 5);
    // In a terminal of macOS the variable is set as well, but the parent is a shell.
    let machine = Machine::boot(root());
    machine
        .run(["env", "XPC_SERVICE_NAME=org.example.svc", "svc"])
        .expect_success();
}

#[test]
fn ssh_host_command_returns_when_the_service_is_ready() {
    require!(machine());
    let machine = Machine::boot(root());
    let ran = machine.run(["greeter", "pidfile=/run/greeter.pid", "warm_up=1"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("warming up"), "{ran}");
    assert_greets(&machine);
    let second = machine.run(["greeter", "pidfile=/run/greeter.pid"]);
    assert_eq!(second.status, 80, "{second}");
    assert!(machine.sh("kill $(cat /run/greeter.pid)").success());
    wait_until("its end", || {
        machine.pids("greeter").is_empty().then_some(())
    });
    assert!(!machine.path("/run/greeter.pid").exists());
}

#[test]
fn cron_mails_nothing_but_a_failure() {
    require!(machine(), tool("cron"));
    let machine = Cron::boot(root(), "/usr/local/bin/greeter pidfile=/run/greeter.pid");
    let mail = machine.mail();
    assert!(mail.ends_with("\n\nstatus 0\n"), "{mail}");
    assert_greets(&machine);
    let mail = Cron::boot(root(), "/usr/local/bin/greeter words=/nowhere").mail();
    assert!(
        mail.contains("cannot read /nowhere") && mail.ends_with("\nstatus 1\n"),
        "{mail}"
    );
}
