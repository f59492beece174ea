//! D1: what a supervisor runs, it restarts and stops itself.

use daemon_harness::managers::{Machine, OpenRc, Root, Runit, S6, Supervisord, wait_until};
use daemon_harness::require;

use crate::ctl::{self, CTL, ctl};

const RUN: &str = "export 'CTL=pidfile=/run/ctl.pid listen=/run/ctl.address'\nexec ctl run\n";

/// The one process of the service, once it is ready and its pidfile names the one that the manager
/// has.
#[track_caller]
fn kept(machine: &Machine, main: impl Fn() -> Option<u32>) -> u32 {
    wait_until("the service", || {
        let main = main()?;
        (ctl::ready_pid(machine) == Some(main) && machine.pids("ctl") == [main]).then_some(main)
    })
}

/// The control commands restart and stop it by the manager, which says which process it has.
#[track_caller]
fn assert_kept(machine: &Machine, by: &str, main: impl Fn() -> Option<u32>) {
    let old = kept(machine, &main);
    let said = ctl(machine, "status").expect_success();
    assert!(said.contains(&format!("run by {by}")), "{said}");
    for _ in 0..2 {
        ctl(machine, "restart").expect_success();
        assert_ne!(kept(machine, &main), old);
    }
    ctl(machine, "stop").expect_success();
    assert!(machine.pids("ctl").is_empty(), "{}", ctl(machine, "status"));
    assert_eq!(ctl(machine, "status").status, 3);
}

#[test]
fn d1_runit_restarts_and_stops_what_it_runs() {
    require!(machine(), tool("runsvdir"));
    let run = format!("#!/bin/sh\nexec 2>&1\n{RUN}");
    let machine = Runit::boot(ctl::root().script("/etc/service/ctl/run", run));
    assert_kept(&machine, "runit (/etc/service/ctl)", || machine.pid("ctl"));
    assert!(
        machine.sv(5, "status", "ctl").stdout.starts_with("down: "),
        "{}",
        machine.sv(5, "status", "ctl")
    );
    machine.sv(5, "start", "ctl").expect_success();
    kept(&machine, || machine.pid("ctl"));
    machine.sv(5, "stop", "ctl").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_what_runit_itself_runs_does_not_call_it_back() {
    require!(machine(), tool("runsvdir"));
    let control = "#!/bin/sh\nexport 'CTL=pidfile=/run/ctl.pid listen=/run/ctl.address'\nctl restart >/run/said 2>&1; echo $? >>/run/said\nexit 0\n";
    let machine = Runit::boot(
        ctl::root()
            .script("/etc/service/ctl/run", format!("#!/bin/sh\n{RUN}"))
            .script("/etc/service/ctl/control/h", control),
    );
    let old = kept(&machine, || machine.pid("ctl"));
    machine.sv(5, "hup", "ctl").expect_success();
    let said = wait_until("an answer", || {
        let said = std::fs::read_to_string(machine.path("/run/said")).ok()?;
        said.ends_with("1\n").then_some(said)
    });
    assert!(
        said.contains("sv -w 180 restart /etc/service/ctl"),
        "{said}"
    );
    assert_eq!(kept(&machine, || machine.pid("ctl")), old);
}

#[test]
fn d1_s6_restarts_and_stops_what_it_runs() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(
        ctl::root()
            .script(
                "/run/service/ctl/run",
                format!("#!/bin/sh\nexport DAEMON_NOTIFY_FD=3\n{RUN}"),
            )
            .text("/run/service/ctl/notification-fd", "3\n"),
    );
    assert_kept(&machine, "s6 (/run/service/ctl)", || machine.pid("ctl"));
    assert_eq!(machine.field("ctl", "up"), "false");
    machine.svc("-u", "ctl").expect_success();
    kept(&machine, || machine.pid("ctl"));
}

#[test]
fn d1_supervisord_restarts_and_stops_what_it_runs() {
    require!(machine(), tool("supervisord"));
    let (key, value) = CTL.split_once('=').expect("a variable");
    let program = format!(
        "[program:ctl]\ncommand=/usr/local/bin/ctl\nenvironment={key}=\"{value}\"\nautorestart=true\nstartsecs=0\n"
    );
    let machine = Supervisord::boot(ctl::root().text("/etc/supervisor/conf.d/ctl.conf", program));
    assert_kept(&machine, "supervisord (ctl)", || machine.pid("ctl"));
    assert_eq!(machine.state("ctl"), "STOPPED");
    machine.ctl(["start", "ctl"]).expect_success();
    kept(&machine, || machine.pid("ctl"));
}

/// The same, by a shell that stays between them.
const RUN_BELOW: &str =
    "export 'CTL=pidfile=/run/ctl.pid listen=/run/ctl.address'\nctl run\nexit $?\n";

/// Neither command is heard, as the supervisor would not know of it; the words say what to do.
#[track_caller]
fn assert_wrapped(machine: &Machine, by: &str, restart: &str) {
    let service = wait_until("the service", || {
        ctl::ready_pid(machine).filter(|&pid| machine.pids("ctl") == [pid])
    });
    let said = ctl(machine, "status").expect_success();
    assert!(said.contains(&format!("run by {by}")), "{said}");
    for command in ["restart", "stop"] {
        let refused = ctl(machine, command);
        assert_eq!(refused.status, 1, "{command}: {refused}");
        assert!(
            refused.stderr.contains("`exec`") && refused.stderr.contains(restart),
            "{refused}"
        );
    }
    assert_eq!(
        (ctl::pid(machine), machine.pids("ctl")),
        (Some(service), vec![service])
    );
}

#[test]
fn d1_a_shell_that_stays_below_a_supervisor_is_not_bypassed() {
    require!(machine(), tool("runsvdir"), tool("s6-svscan"));
    let run = format!("#!/bin/sh\n{RUN_BELOW}");
    let machine = Runit::boot(ctl::root().script("/etc/service/ctl/run", &run));
    assert_wrapped(
        &machine,
        "runit (/etc/service/ctl)",
        "`sv -w 180 restart /etc/service/ctl`",
    );
    let deeper = "#!/bin/sh\nsh /run/service/ctl/inner\nexit $?\n";
    let machine = S6::boot(
        ctl::root()
            .script("/run/service/ctl/run", deeper)
            .script("/run/service/ctl/inner", &run),
    );
    assert_wrapped(&machine, "s6 (/run/service/ctl)", "s6-svc");
}

#[test]
fn d1_a_daemon_that_a_supervised_script_has_started_is_restarted_as_ever() {
    require!(machine(), tool("runsvdir"));
    let run = format!("#!/bin/sh\nexport '{CTL}' DAEMON_MODE=detach\nctl start\nexec sleep 1000\n");
    let machine = Runit::boot(ctl::root().script("/etc/service/ctl/run", run));
    let old = wait_until("the service", || {
        ctl::pid(&machine).filter(|&pid| machine.pids("ctl") == [pid])
    });
    ctl(&machine, "restart").expect_success();
    assert_ne!(ctl::pid(&machine), Some(old));
    ctl(&machine, "stop").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

/// The script of a service of OpenRC.
fn openrc(more: &str) -> Root {
    let script = format!(
        "#!/sbin/openrc-run\ncommand=/usr/local/bin/ctl\nexport 'CTL=pidfile=/run/ctl.pid listen=/run/ctl.address'\n{more}"
    );
    ctl::root().script("/etc/init.d/ctl", script)
}

#[test]
fn d1_openrc_restarts_and_stops_what_it_supervises() {
    require!(machine(), tool("openrc"));
    let machine = OpenRc::boot(openrc("supervisor=supervise-daemon\n"));
    machine.rc_service("ctl", "start").expect_success();
    assert_kept(&machine, "OpenRC (ctl)", || machine.pid("ctl"));
    assert_eq!(machine.rc_service("ctl", "status").status, 3);
    machine.rc_service("ctl", "start").expect_success();
    kept(&machine, || machine.pid("ctl"));
    machine.rc_service("ctl", "stop").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_openrc_restarts_and_stops_the_traditional_daemon() {
    require!(machine(), tool("openrc"));
    let restart = "extra_started_commands=again\nagain() {\n\tctl restart\n}\n";
    let machine = OpenRc::boot(openrc(&format!(
        "pidfile=/run/ctl.pid\nretry=TERM/10\n{restart}"
    )));
    machine.rc_service("ctl", "start").expect_success();
    assert_kept(&machine, "OpenRC (ctl)", || ctl::pid(&machine));
    assert_eq!(machine.rc_service("ctl", "status").status, 3);
    machine.rc_service("ctl", "start").expect_success();
    let old = kept(&machine, || ctl::pid(&machine));
    // In its own script, by the pidfile that OpenRC follows.
    machine.rc_service("ctl", "again").expect_success();
    assert_ne!(kept(&machine, || ctl::pid(&machine)), old);
    assert_eq!(machine.rc_service("ctl", "status").status, 0);
    machine.rc_service("ctl", "stop").expect_success();
    assert!(machine.pids("ctl").is_empty());
}

#[test]
fn d1_daemontools_restarts_and_stops_what_it_runs() {
    require!(machine(), tool("supervise"), tool("svstat"));
    let machine =
        Machine::boot(ctl::root().script("/run/service/ctl/run", format!("#!/bin/sh\n{RUN}")));
    machine
        .sh("supervise /run/service/ctl >/dev/null 2>&1 &")
        .expect_success();
    let main = || {
        let line = machine.run(["svstat", "/run/service/ctl"]).stdout; // x: up (pid 7) 3 seconds
        line.split_once("(pid ")?.1.split_once(')')?.0.parse().ok()
    };
    assert_kept(&machine, "daemontools (/run/service/ctl)", main);
}
