//! D6: the word `start` in a unit detaches where systemd waits for that, and says why where it does
//! not.

use daemon_harness::managers::{Systemd, wait_until};
use daemon_harness::require;

use crate::ctl::{self, CTL};

fn systemd(service: &str) -> Systemd {
    let unit = format!("[Service]\nEnvironment=\"{CTL}\"\nTimeoutStartSec=20s\n{service}");
    Systemd::boot(ctl::root().text("/etc/systemd/system/ctl.service", unit))
}

/// The one process of the service, when the start is over.
#[track_caller]
fn daemon(machine: &Systemd) -> u32 {
    let pid = wait_until("the pidfile", || ctl::pid(machine));
    wait_until("one process", || {
        (machine.pids("ctl") == [pid]).then_some(())
    });
    assert_eq!(
        machine.show("ctl", "ActiveState"),
        "active",
        "{}",
        machine.status("ctl")
    );
    pid
}

fn said(machine: &Systemd) -> Vec<String> {
    let entries = machine
        .journal("ctl")
        .into_iter()
        .map(|entry| entry.message);
    entries
        .filter(|message| message.contains("foreground"))
        .collect()
}

/// It stays while systemd waits for its end, and says why in one line; then it is stopped.
#[track_caller]
fn assert_stays(machine: &Systemd, why: &str) {
    wait_until("a line", || {
        let lines = said(machine);
        lines.iter().any(|line| line.contains(why)).then_some(())
    });
    assert_eq!(said(machine).len(), 1, "{:?}", said(machine));
    assert_eq!(machine.show("ctl", "ActiveState"), "activating");
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d6_a_typed_start_under_type_forking_detaches_without_a_pidfile_too() {
    require!(machine());
    let machine = systemd("Type=forking\nExecStart=ctl start\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    let pid = daemon(&machine);
    assert_eq!(machine.main_pid("ctl"), Some(pid), "systemd guesses");
    assert_eq!(said(&machine), [""; 0]);
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d6_a_typed_start_under_type_oneshot_detaches_if_the_daemon_may_stay() {
    require!(machine());
    let machine = systemd("Type=oneshot\nRemainAfterExit=yes\nExecStart=ctl start\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    let pid = daemon(&machine);
    assert_eq!(machine.processes("ctl"), [pid]);
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d6_a_typed_start_under_type_simple_and_exec_stays() {
    require!(machine());
    for kind in ["simple", "exec"] {
        let machine = systemd(&format!("Type={kind}\nExecStart=ctl start\n"));
        machine.systemctl(["start", "ctl"]).expect_success();
        let pid = daemon(&machine);
        assert_eq!(machine.main_pid("ctl"), Some(pid));
        assert_eq!(machine.show("ctl", "ExecMainPID"), pid.to_string());
        assert_eq!(said(&machine), [""; 0], "{kind}");
    }
}

#[test]
fn d6_a_typed_start_that_would_be_killed_says_why_it_stays() {
    require!(machine());
    for (service, why) in [
        ("Type=oneshot\nExecStart=ctl start\n", "RemainAfterExit=yes"),
        (
            "Type=simple\nExecStartPre=ctl start\nExecStart=sleep 1000\n",
            "ExecStartPre=",
        ),
    ] {
        let machine = systemd(service);
        machine
            .systemctl(["start", "--no-block", "ctl"])
            .expect_success();
        assert_stays(&machine, why);
    }
}

#[test]
fn d6_exec_start_post_may_start_a_daemon() {
    require!(machine());
    let machine = systemd("Type=simple\nExecStart=sleep 1000\nExecStartPost=ctl start\n");
    machine.systemctl(["start", "ctl"]).expect_success();
    let pid = daemon(&machine);
    assert_eq!(machine.processes("ctl").len(), 2);
    assert_ne!(machine.main_pid("ctl"), Some(pid));
    machine.systemctl(["stop", "ctl"]).expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d6_a_bare_start_that_systemd_waits_for_says_that_it_stays() {
    require!(machine());
    for kind in ["forking", "oneshot", "oneshot\nRemainAfterExit=yes"] {
        let machine = systemd(&format!("Type={kind}\nExecStart=ctl\n"));
        machine
            .systemctl(["start", "--no-block", "ctl"])
            .expect_success();
        assert_stays(&machine, "Type=notify fits");
    }
}

#[test]
fn d6_a_bare_start_that_systemd_takes_for_the_service_is_silent() {
    require!(machine());
    for service in [
        "Type=simple\n",
        "Type=exec\n",
        "Type=notify\n",
        "Type=forking\nPIDFile=/run/ctl.pid\n",
    ] {
        let machine = systemd(&format!("{service}ExecStart=ctl\n"));
        machine.systemctl(["start", "ctl"]).expect_success();
        daemon(&machine);
        assert_eq!(said(&machine), [""; 0], "{service}");
        machine.systemctl(["stop", "ctl"]).expect_success();
    }
}
