//! H2: the usual places of a service's files, where no login has made them.

use daemon_harness::managers::{Machine, Root, Systemd};
use daemon_harness::{bin, require};

#[test]
fn h2_a_user_of_systemd_has_the_directories_of_the_unit() {
    require!(machine());
    let machine = Systemd::boot(Root::new().copy("/usr/bin/svc", bin("svc")));
    for user in ["User=daemon", "DynamicUser=yes"] {
        let unit = format!(
            "[Service]\nType=notify\n{user}\nRuntimeDirectory=greeter other\nLogsDirectory=greeter\nStateDirectory=greeter\n\
             ExecStart=/usr/bin/svc name=greeter pidfile= init:places=/run/greeter/places\n"
        );
        machine.rewrite("greeter.service", &unit);
        machine.systemctl(["start", "greeter"]).expect_success();
        let pid = machine.main_pid("greeter").expect("it runs");
        let pidfile = machine.wait_for_text("/run/greeter/greeter.pid");
        assert_eq!(pidfile, format!("{pid}\n"), "{user}");
        let places = machine.wait_for_text("/run/greeter/places");
        let expected = "/run/greeter/greeter.pid /var/log/greeter/greeter.log /var/lib/greeter";
        assert_eq!(places, expected, "{user}");
        machine.systemctl(["stop", "greeter"]).expect_success();
    }
}

/// cron and `sudo -u` set no XDG_RUNTIME_DIR.
#[test]
fn h2_a_user_who_is_logged_in_has_one_place_with_the_variable_and_without() {
    require!(machine(), tool("setpriv"));
    let machine = Machine::boot(Root::new().copy("/usr/bin/svc", bin("svc")));
    let make = "mkdir -p -m 755 /run/user && install -d -m 700 -o 4711 /run/user/4711";
    machine.sh(make).expect_success();
    let start = "setpriv --reuid 4711 --regid 4711 --clear-groups svc name=greeter pidfile=";
    let without = machine.sh(&format!("env -u XDG_RUNTIME_DIR {start}"));
    without.expect_success();
    let pid = machine.wait_for_text("/run/user/4711/greeter.pid");
    let with = machine.sh(&format!("XDG_RUNTIME_DIR=/run/user/4711 {start}"));
    assert_eq!(with.status, 80, "{with}");
    assert!(with.stderr.contains(pid.trim()), "{with}");
}
