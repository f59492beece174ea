//! s6, runit, supervisord, OpenRC, dinit and start-stop-daemon: what they run is that of
//! `examples/managers`.

use daemon_harness::managers::{Dinit, Machine, OpenRc, Root, Runit, S6, Supervisord, wait_until};
use daemon_harness::{errno_text, require};

use crate::greeter::{assert_greets, greeter, root, status_of, wait_until_it_greets, with_greeter};

#[test]
fn s6_knows_when_it_is_ready() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(
        root()
            .script("/run/service/greeter/run", example!("s6/greeter/run"))
            .text(
                "/run/service/greeter/notification-fd",
                example!("s6/greeter/notification-fd"),
            ),
    );
    machine.wait("-U", "greeter", 10_000).expect_success();
    assert_greets(&machine);
    assert_eq!(machine.pid("greeter"), Some(greeter(&machine)));
    machine.svc("-d", "greeter").expect_success();
    machine.wait("-D", "greeter", 10_000).expect_success();
    assert_eq!(machine.field("greeter", "exitcode"), "0");
}

#[test]
fn s6_rc_knows_when_it_is_ready() {
    require!(machine(), tool("s6-svscan"), tool("s6-rc-compile"));
    let source = "/etc/s6-rc/source/greeter";
    let machine = S6::boot(
        root()
            .empty("/run/service")
            .script(format!("{source}/run"), example!("s6-rc/greeter/run"))
            .text(format!("{source}/type"), example!("s6-rc/greeter/type"))
            .text(
                format!("{source}/notification-fd"),
                example!("s6-rc/greeter/notification-fd"),
            ),
    );
    let compile = "s6-rc-compile /etc/s6-rc/compiled /etc/s6-rc/source && s6-rc-init -c /etc/s6-rc/compiled /run/service";
    machine.sh(compile).expect_success();
    machine.sh("s6-rc -u change greeter").expect_success();
    assert_greets(&machine);
    machine.sh("s6-rc -d change greeter").expect_success();
    assert!(machine.pids("greeter").is_empty());
}

#[test]
fn s6_never_sees_a_service_ready_that_cannot_start() {
    require!(machine(), tool("s6-svscan"));
    let run =
        example!("s6/greeter/run").replace("bin/greeter", "bin/greeter address=192.0.2.1:7007");
    let machine = S6::boot(
        root()
            .script("/run/service/greeter/run", run)
            .text(
                "/run/service/greeter/notification-fd",
                example!("s6/greeter/notification-fd"),
            )
            .text("/run/service/greeter/down", ""),
    );
    machine.svc("-o", "greeter").expect_success();
    wait_until("the failure", || {
        (machine.field("greeter", "exitcode") == "1").then_some(())
    });
    assert!(!machine.wait("-U", "greeter", 100).success());
    assert!(
        machine.console().contains(&errno_text(libc::EADDRNOTAVAIL)),
        "{}",
        machine.console()
    );
}

#[test]
fn e46_s6_runs_it_in_the_foreground_without_readiness_and_from_a_shell_that_stays() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(
        root()
            .script(
                "/run/service/plain/run",
                "#!/bin/sh\nexec greeter address=127.0.0.1:7001\n",
            )
            .script(
                "/run/service/shell/run",
                "#!/bin/sh\nDAEMON_NOTIFY_FD=3 greeter\nexit $?\n",
            )
            .text("/run/service/shell/notification-fd", "3\n"),
    );
    machine.wait("-U", "shell", 10_000).expect_success();
    assert_greets(&machine);
    wait_until("the other", || machine.connect("127.0.0.1:7001").ok());
    let pids = machine.pids("greeter");
    let plain = machine.pid("plain").expect("it runs");
    assert!(pids.len() == 2 && pids.contains(&plain), "{pids:?}");
    let shell = machine.pid("shell").expect("it runs").to_string();
    assert!(
        pids.iter()
            .any(|&pid| status_of(&machine, pid, "PPid") == shell)
    );
}

#[test]
fn e46_runit_runs_it_in_the_foreground() {
    require!(machine(), tool("runsvdir"));
    let machine = Runit::boot(
        root()
            .script("/etc/service/greeter/run", example!("runit/greeter/run"))
            .script(
                "/etc/service/greeter/check",
                example!("runit/greeter/check"),
            ),
    );
    machine.sv(10, "start", "greeter").expect_success();
    assert_greets(&machine);
    assert_eq!(machine.pid("greeter"), Some(greeter(&machine)));
    machine.sv(5, "down", "greeter").expect_success();
    assert!(machine.pids("greeter").is_empty());
    machine.sv(10, "start", "greeter").expect_success();
    assert_greets(&machine);
}

#[test]
fn supervisord_runs_it_in_the_foreground_and_logs_why_it_failed() {
    require!(machine(), tool("supervisord"));
    let program = example!("supervisord/greeter.conf");
    let failing = program
        .replace("greeter", "failing")
        .replace("bin/failing", "bin/greeter words=/nowhere");
    let machine = Supervisord::boot(
        root()
            .text("/etc/supervisor/conf.d/greeter.conf", program)
            .text(
                "/etc/supervisor/conf.d/failing.conf",
                format!("{failing}startretries = 0\n"),
            ),
    );
    machine.wait_for("greeter", "RUNNING");
    wait_until_it_greets(&machine);
    assert_eq!(machine.pid("greeter"), Some(greeter(&machine)));
    machine.wait_for("failing", "FATAL");
    let said = machine.wait_for_text("/var/log/failing.log");
    assert!(
        said.contains("cannot read /nowhere: No such file or directory"),
        "{said}"
    );
    machine.ctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.state("greeter"), "STOPPED");
    assert!(
        machine
            .console()
            .contains("stopped: greeter (exit status 0)"),
        "{}",
        machine.console()
    );
}

#[test]
fn openrc_starts_the_traditional_daemon() {
    require!(machine(), tool("openrc-init"));
    let script = example!("openrc/traditional/greeter");
    let failing = script
        .replace("greeter.pid", "failing.pid")
        .replace("_args=\"", "_args=\"words=/nowhere ");
    let machine = OpenRc::boot(
        root()
            .script("/etc/init.d/greeter", script)
            .script("/etc/init.d/failing", failing),
    );
    machine.rc_service("greeter", "start").expect_success();
    assert_greets(&machine);
    let pid = greeter(&machine);
    assert_ne!(status_of(&machine, pid, "NSsid"), pid.to_string());
    assert_eq!(machine.rc_service("greeter", "status").status, 0);
    let failed = machine.rc_service("failing", "start");
    assert!(
        !failed.success() && failed.stderr.contains("cannot read /nowhere"),
        "{failed}"
    );
    machine.rc_service("greeter", "stop").expect_success();
    assert!(machine.pids("greeter").is_empty());
    assert_eq!(machine.rc_service("greeter", "status").status, 3);
}

#[test]
fn openrc_supervises_it_in_the_foreground() {
    require!(machine(), tool("openrc-init"));
    let machine =
        OpenRc::boot(root().script("/etc/init.d/greeter", example!("openrc/supervised/greeter")));
    machine.rc_service("greeter", "start").expect_success();
    wait_until_it_greets(&machine);
    wait_until("its pid", || {
        (machine.pid("greeter") == Some(greeter(&machine))).then_some(())
    });
    machine.rc_service("greeter", "stop").expect_success();
    assert!(machine.pids("greeter").is_empty());
}

#[test]
fn openrc_of_debian_testing_knows_when_it_is_ready() {
    require!(
        machine(),
        that(
            Root::debian("forky").is_some(),
            "needs Debian forky, unpacked by tests/setup"
        )
    );
    let root = with_greeter(Root::debian("forky").expect("just seen"));
    let machine =
        OpenRc::boot(root.script("/etc/init.d/greeter", example!("openrc/notify/greeter")));
    machine.rc_service("greeter", "start").expect_success();
    assert_greets(&machine);
    assert_eq!(machine.rc_service("greeter", "status").status, 0);
    machine.rc_service("greeter", "stop").expect_success();
    assert!(machine.pids("greeter").is_empty());
}

#[test]
fn dinit_knows_when_it_is_ready() {
    require!(
        machine(),
        that(
            Dinit::is_there(),
            "needs dinit, which Debian has no package of"
        )
    );
    let service = example!("dinit/greeter");
    let failing = service.replace("bin/greeter", "bin/greeter words=/nowhere");
    let machine = Dinit::boot(
        root()
            .text("/etc/dinit.d/greeter", service)
            .text("/etc/dinit.d/failing", failing),
    );
    machine.ctl(["start", "greeter"]).expect_success();
    assert_greets(&machine);
    assert_eq!(machine.pid("greeter"), Some(greeter(&machine)));
    assert!(!machine.ctl(["start", "failing"]).success());
    machine.ctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.state("greeter"), "STOPPED");
}

#[test]
fn start_stop_daemon_waits_until_it_is_ready() {
    require!(machine(), tool("start-stop-daemon"));
    let script = example!("start-stop-daemon/notify");
    let failing = script
        .replace("greeter.pid", "failing.pid")
        .replace("bin/greeter\n", "bin/greeter -- address=192.0.2.1:7007\n");
    let machine = Machine::boot(
        root()
            .script("/etc/init.d/greeter", script)
            .script("/etc/init.d/failing", failing),
    );
    // The second time from a shell below a systemd service, as after an administrator's `su`.
    for variables in ["", "SYSTEMD_EXEC_PID=1 NOTIFY_SOCKET=/run/systemd/notify"] {
        machine
            .sh(&format!("{variables} /etc/init.d/greeter start"))
            .expect_success();
        assert_greets(&machine);
        assert_eq!(
            machine.wait_for_text("/run/greeter.pid").trim(),
            greeter(&machine).to_string()
        );
        machine
            .run(["/etc/init.d/greeter", "stop"])
            .expect_success();
        assert!(machine.pids("greeter").is_empty());
    }
    let failed = machine.run(["/etc/init.d/failing", "start"]);
    assert!(
        failed.stderr.contains("Cannot assign requested address"),
        "it knows why from ERRNO=: {failed}"
    );
    assert_ne!(failed.status, 0);
    wait_until("its end", || {
        machine.pids("greeter").is_empty().then_some(())
    });
}

#[test]
fn start_stop_daemon_starts_and_stops_the_traditional_daemon() {
    require!(machine(), tool("start-stop-daemon"));
    let machine = Machine::boot(root().script(
        "/etc/init.d/greeter",
        example!("start-stop-daemon/traditional"),
    ));
    machine
        .run(["/etc/init.d/greeter", "start"])
        .expect_success();
    assert_greets(&machine);
    let pid = greeter(&machine);
    assert_eq!(
        machine.wait_for_text("/run/greeter.pid"),
        format!("{pid}\n")
    );
    assert!(
        !machine.run(["/etc/init.d/greeter", "start"]).success(),
        "it runs already"
    );
    assert_eq!(greeter(&machine), pid);
    machine
        .run(["/etc/init.d/greeter", "stop"])
        .expect_success();
    assert!(machine.pids("greeter").is_empty());
    assert!(!machine.path("/run/greeter.pid").exists());
}
