//! D1: what systemd runs, it restarts and stops itself.

use daemon_harness::managers::{Systemd, wait_until};
use daemon_harness::require;

use crate::ctl::{self, CTL, ctl};

const UNIT: &str = "/etc/systemd/system/ctl.service";

/// systemd with `ctl.service`, which it would start again whatever happens.
fn systemd(service: &str) -> Systemd {
    let unit =
        format!("[Service]\nEnvironment=\"{CTL}\"\nRestart=always\nRestartSec=100ms\n{service}");
    Systemd::boot(ctl::root().text(UNIT, unit))
}

/// The unit is active, and its main process is the one process of the service. Returns it.
#[track_caller]
fn assert_kept(machine: &Systemd) -> u32 {
    assert_eq!(
        machine.show("ctl", "ActiveState"),
        "active",
        "{}",
        machine.status("ctl")
    );
    let main = machine.main_pid("ctl").expect("it runs");
    wait_until("one process", || {
        (machine.pids("ctl") == [main]).then_some(())
    });
    assert_eq!(machine.processes("ctl"), [main]);
    wait_until("readiness", || {
        (ctl::ready_pid(machine) == Some(main)).then_some(())
    });
    main
}

#[test]
fn d1_systemd_restarts_and_stops_what_it_runs() {
    require!(machine());
    for service in [
        "Type=notify\nExecStart=ctl run\n",
        "Type=simple\nExecStart=ctl\n",
        "Type=exec\nExecStart=ctl start\n",
        "Type=forking\nPIDFile=/run/ctl.pid\nExecStart=ctl start\n",
    ] {
        let machine = systemd(service);
        machine.systemctl(["start", "ctl"]).expect_success();
        let old = {
            wait_until("the pidfile", || ctl::pid(&machine));
            assert_kept(&machine)
        };
        let said = ctl(&machine, "status").expect_success();
        assert!(
            said.contains(&format!("pid {old}")) && said.contains("run by systemd (ctl.service)"),
            "{said}"
        );
        let said = ctl(&machine, "status --json").expect_success();
        assert!(
            said.contains(r#""manager":"systemd","service":"ctl.service","version":"#),
            "{said}"
        );

        let said = ctl(&machine, "restart").expect_success();
        assert!(
            said.contains("ctl restarted: pid ")
                && said.contains("`systemctl restart ctl.service`"),
            "{service}: {said}"
        );
        assert_ne!(assert_kept(&machine), old, "{service}");
        // The manager's own commands go on working.
        machine.systemctl(["restart", "ctl"]).expect_success();
        wait_until("the pidfile", || {
            (ctl::pid(&machine) == machine.main_pid("ctl")).then_some(())
        });
        assert_kept(&machine);

        let said = ctl(&machine, "stop").expect_success();
        assert!(said.contains("ctl stopped: pid "), "{said}");
        assert_eq!(
            machine.show("ctl", "ActiveState"),
            "inactive",
            "{service}: {}",
            machine.status("ctl")
        );
        assert!(machine.pids("ctl").is_empty(), "{service}");
        assert_eq!(machine.show("ctl", "NRestarts"), "0", "{service}");
        machine.systemctl(["start", "ctl"]).expect_success();
        machine.systemctl(["stop", "ctl"]).expect_success();
        assert!(machine.pids("ctl").is_empty(), "{service}");
    }
}

#[test]
fn d1_exec_reload_that_restarts_leaves_a_service_in_the_foreground_alone() {
    require!(machine());
    let machine =
        systemd("Type=notify\nExecStart=ctl run\nExecReload=ctl restart\nExecStop=ctl stop\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    let main = assert_kept(&machine);
    let reloaded = machine.systemctl(["reload", "ctl"]);
    assert!(!reloaded.success(), "{reloaded}");
    let journal = machine.journal("ctl");
    assert!(
        journal
            .iter()
            .any(|entry| entry.message.contains("systemctl restart ctl.service")),
        "{journal:?}"
    );
    assert_eq!(assert_kept(&machine), main);
    // What `ExecStop=` runs must not wait for the manager, which waits for it.
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert_eq!(
        (
            machine.show("ctl", "ActiveState"),
            machine.show("ctl", "Result")
        ),
        ("inactive".into(), "success".into())
    );
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_a_restart_that_fails_says_what_systemd_says() {
    require!(machine());
    let machine =
        systemd("Type=notify\nExecStart=ctl run\nExecStop=/bin/sh -c 'touch /run/fail'\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    assert_kept(&machine);
    machine.rewrite(
        "ctl.service",
        &format!("[Service]\nEnvironment=\"{CTL} fail\"\nType=notify\nExecStart=ctl run\n"),
    );
    let restarted = ctl(&machine, "restart");
    assert_eq!(restarted.status, 1, "{restarted}");
    assert!(
        restarted
            .stderr
            .contains("`systemctl restart ctl.service`: Job for ctl.service failed"),
        "{restarted}"
    );
    assert_eq!(machine.show("ctl", "ActiveState"), "failed");
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_a_stop_that_takes_too_long_is_a_kill() {
    require!(machine());
    let unit = format!(
        "[Service]\nEnvironment=\"{CTL} stubborn\"\nRestart=always\nType=notify\nExecStart=ctl run\n"
    );
    let machine = Systemd::boot(ctl::root().text(UNIT, unit));
    machine.systemctl(["start", "ctl"]).expect_success();
    assert_kept(&machine);
    let said = ctl(&machine, "stop --timeout 1s").expect_success();
    assert!(said.contains("killed after 1s"), "{said}");
    machine.wait_for("ctl", "SubState", "failed");
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_a_shell_that_stays_below_systemd_is_not_bypassed() {
    require!(machine());
    let machine =
        systemd("Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'ctl run; exit $?'\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    let service = ctl::pid(&machine).expect("a pidfile");
    let refused = ctl(&machine, "restart");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(
        refused.stderr.contains("systemctl restart ctl.service"),
        "{refused}"
    );
    assert_eq!(
        (ctl::pid(&machine), machine.pids("ctl")),
        (Some(service), vec![service])
    );
    assert_eq!(machine.show("ctl", "ActiveState"), "active");
}

/// A unit that starts the service by the way.
fn host(service: &str) -> Systemd {
    let unit = format!("[Service]\nEnvironment=\"{CTL}\"\n{service}");
    let machine = Systemd::boot(ctl::root().text("/etc/systemd/system/host.service", unit));
    machine.systemctl(["start", "host"]).expect_success();
    let pid = wait_until("the pidfile", || ctl::pid(&machine));
    wait_until("the starter's end", || {
        (machine.pids("ctl") == [pid]).then_some(())
    });
    machine
}

#[test]
fn d1_a_daemon_below_a_service_that_leaves_it_alone_is_nobody_elses() {
    require!(machine());
    let cron = "Type=simple\nKillMode=process\nExecStart=/bin/sh -c 'ctl start; exec sleep 1000'\n";
    let machine = host(cron);
    let old = ctl::pid(&machine);
    assert!(!ctl(&machine, "status").expect_success().contains("run by"));
    ctl(&machine, "restart").expect_success();
    let new = ctl::pid(&machine).expect("a pidfile");
    assert_ne!(Some(new), old);
    wait_until("one process", || {
        (machine.pids("ctl") == [new]).then_some(())
    });
    assert_eq!(machine.show("host", "ActiveState"), "active");
    ctl(&machine, "stop").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_a_daemon_that_ends_with_another_unit_is_not_moved_out_of_it() {
    require!(machine());
    for service in [
        "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'ctl start; exit $?'\n",
        "Type=simple\nKillMode=mixed\nExecStart=/bin/sh -c 'ctl start; exec sleep 1000'\n",
    ] {
        let machine = host(service);
        let old = ctl::pid(&machine).expect("a pidfile");
        let said = ctl(&machine, "status").expect_success();
        assert!(said.contains("run by systemd (host.service)"), "{said}");
        let refused = ctl(&machine, "restart");
        assert_eq!(refused.status, 1, "{service}: {refused}");
        assert!(
            refused.stderr.contains("`systemctl restart host.service`"),
            "{refused}"
        );
        assert_eq!(
            (ctl::pid(&machine), machine.pids("ctl")),
            (Some(old), vec![old])
        );
        assert!(machine.processes("host").contains(&old));
        // The command in these words does it.
        machine.systemctl(["restart", "host"]).expect_success();
        let new = wait_until("the new one", || {
            ctl::pid(&machine).filter(|&new| new != old)
        });
        wait_until("one process", || {
            (machine.pids("ctl") == [new]).then_some(())
        });
        ctl(&machine, "stop").expect_success();
        assert!(machine.pids("ctl").is_empty());
        assert_eq!(machine.show("host", "ActiveState"), "active");
    }
}

#[test]
fn d1_a_stop_that_leaves_a_process_behind_says_so() {
    require!(machine());
    let unit = format!(
        "[Service]\nEnvironment=\"{CTL} worker\"\nType=notify\nKillMode=process\nExecStart=ctl run\n"
    );
    let machine = Systemd::boot(ctl::root().text(UNIT, unit));
    machine.systemctl(["start", "ctl"]).expect_success();
    let main = machine.main_pid("ctl").expect("it runs");
    wait_until("the worker", || {
        (machine.pids("ctl").len() == 2).then_some(())
    });
    let stopped = ctl(&machine, "stop");
    assert_eq!(stopped.status, 1, "{stopped}");
    assert!(stopped.stderr.contains("left behind"), "{stopped}");
    assert_eq!(machine.show("ctl", "MainPID"), "0");
    let left = machine.pids("ctl");
    assert!(left.len() == 1 && left != [main], "{left:?}");
}
