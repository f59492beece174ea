//! D3: in a pid namespace of its own the service is the child of PID 1, which systemd hears alone.

use std::fs;

use daemon_harness::managers::{Root, Systemd, wait_until};
use daemon_harness::{bin, errno_text, require};

use crate::ctl::{CTL, ctl};
use crate::greeter::{Client, assert_greets, with_greeter};

/// Each systemd that knows `PrivatePIDs=`, with these units. 257 gives the pids outside, later ones
/// PID 1's own.
fn systemds(units: &[(&str, &str)]) -> impl Iterator<Item = Systemd> {
    ["trixie", "forky"]
        .into_iter()
        .filter_map(Root::debian)
        .map(move |root| {
            let mut root = with_greeter(root)
                .copy("/usr/local/bin/ctl", bin("ctl"))
                .text("/etc/greeter.words", "hello\n");
            for (name, text) in units {
                let text = text.replace("[Service]\n", "[Service]\nPrivatePIDs=yes\n");
                root = root.text(format!("/etc/systemd/system/{name}"), text);
            }
            Systemd::boot(root)
        })
}

macro_rules! require_private_pids {
    () => {
        require!(
            machine(),
            that(
                Root::debian("trixie").is_some(),
                "needs Debian trixie, unpacked by tests/setup"
            )
        );
    };
}

/// PID 1 of its namespace and the service, and no other process.
fn assert_shim_and_service(machine: &Systemd) {
    assert_eq!(machine.show("greeter", "ActiveState"), "active");
    let processes = machine.processes("greeter");
    assert_eq!(processes.len(), 2, "{processes:?}");
    assert!(processes.contains(&machine.main_pid("greeter").expect("it runs")));
}

#[test]
fn d3_private_pids_know_when_it_is_ready() {
    require_private_pids!();
    for machine in systemds(&[(
        "greeter.service",
        example!("systemd/notify/greeter.service"),
    )]) {
        machine.systemctl(["start", "greeter"]).expect_success();
        assert_greets(&machine);
        assert_shim_and_service(&machine);
        machine.systemctl(["stop", "greeter"]).expect_success();
        assert_eq!(
            (
                machine.show("greeter", "Result"),
                machine.show("greeter", "ExecMainStatus")
            ),
            ("success".into(), "0".into())
        );
        assert!(machine.pids("greeter").is_empty());
    }
}

#[test]
fn d3_private_pids_tell_why_it_failed_and_what_it_is_doing() {
    require_private_pids!();
    let text = errno_text(libc::EADDRNOTAVAIL);
    let unit = example!("systemd/notify/greeter.service").replace("Restart=on-failure", "");
    for machine in systemds(&[(
        "greeter.service",
        &unit.replace(
            "bin/greeter",
            "bin/greeter warm_up=1 address=192.0.2.1:7007",
        ),
    )]) {
        let starting = machine
            .command(["systemctl", "start", "greeter"])
            .spawn()
            .expect("systemctl");
        wait_until("progress", || {
            machine
                .status_text("greeter")
                .contains("warming up")
                .then_some(())
        });
        assert!(
            !starting
                .wait_with_output()
                .expect("our child")
                .status
                .success()
        );
        assert!(
            machine.status_text("greeter").contains(&text),
            "{}",
            machine.status("greeter")
        );
        assert_eq!(
            machine.show("greeter", "StatusErrno"),
            libc::EADDRNOTAVAIL.to_string()
        );
        assert_eq!(machine.show("greeter", "ExecMainStatus"), "1");
    }
}

#[test]
fn d3_private_pids_have_a_watchdog() {
    require_private_pids!();
    for machine in systemds(&[(
        "greeter.service",
        example!("systemd/watchdog/greeter.service"),
    )]) {
        machine.systemctl(["start", "greeter"]).expect_success();
        let first = machine.main_pid("greeter").expect("it runs");
        // Pings come, or it would be killed by then.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert_eq!(machine.main_pid("greeter"), Some(first));
        Client::connect(&machine).say("hang");
        machine.wait_for("greeter", "NRestarts", "1");
        machine.wait_for("greeter", "ActiveState", "active");
        assert_greets(&machine);
    }
}

#[test]
fn d3_private_pids_have_sockets() {
    require_private_pids!();
    for machine in systemds(&[
        (
            "greeter.service",
            example!("systemd/activated/greeter.service"),
        ),
        (
            "greeter.socket",
            example!("systemd/activated/greeter.socket"),
        ),
        (
            "greeter-admin.socket",
            example!("systemd/activated/greeter-admin.socket"),
        ),
    ]) {
        machine
            .systemctl(["start", "greeter.socket", "greeter-admin.socket"])
            .expect_success();
        assert_eq!(machine.show("greeter", "ActiveState"), "inactive");
        assert_greets(&machine);
        assert_shim_and_service(&machine);
        machine.systemctl(["stop", "greeter"]).expect_success();
        // Not bound by itself: the socket unit still listens.
        assert_greets(&machine);
    }
}

#[test]
fn d3_private_pids_store_descriptors() {
    require_private_pids!();
    for machine in systemds(&[(
        "greeter.service",
        example!("systemd/fdstore/greeter.service"),
    )]) {
        machine.systemctl(["start", "greeter"]).expect_success();
        let mut client = Client::connect(&machine);
        assert_eq!(client.greeting("1"), "hello 1");
        for _ in 0..3 {
            machine.systemctl(["restart", "greeter"]).expect_success();
            assert_eq!(client.greeting("2"), "hello 2", "the connection lives on");
        }
        assert_shim_and_service(&machine);
    }
}

#[test]
fn d3_private_pids_reload() {
    require_private_pids!();
    for machine in systemds(&[(
        "greeter.service",
        example!("systemd/notify-reload/greeter.service"),
    )]) {
        machine.systemctl(["start", "greeter"]).expect_success();
        let mut client = Client::connect(&machine);
        for words in ["salve", "servus"] {
            fs::write(machine.path("/etc/greeter.words"), words).expect("the configuration");
            machine.systemctl(["reload", "greeter"]).expect_success();
            assert_eq!(client.greeting("world"), format!("{words} world"));
        }
        assert_shim_and_service(&machine);
    }
}

#[test]
fn d3_what_private_pids_run_is_restarted_and_stopped_from_outside() {
    require_private_pids!();
    let unit = format!(
        "[Service]\nEnvironment=\"{CTL}\"\nRestart=always\nType=notify\nExecStart=ctl run\n"
    );
    for machine in systemds(&[("ctl.service", &unit)]) {
        machine.systemctl(["start", "ctl"]).expect_success();
        let old = machine.main_pid("ctl").expect("it runs");
        let said = ctl(&machine, "status").expect_success();
        assert!(said.contains("run by systemd (ctl.service)"), "{said}");
        let said = ctl(&machine, "restart").expect_success();
        assert!(said.contains("`systemctl restart ctl.service`"), "{said}");
        let new = machine.main_pid("ctl").expect("it runs");
        assert_ne!(new, old);
        wait_until("two processes", || {
            (machine.pids("ctl").len() == 2).then_some(())
        });
        assert_eq!(machine.show("ctl", "NRestarts"), "0");
        ctl(&machine, "stop").expect_success();
        assert_eq!(
            machine.show("ctl", "ActiveState"),
            "inactive",
            "{}",
            machine.status("ctl")
        );
        assert!(machine.pids("ctl").is_empty());
    }
}
