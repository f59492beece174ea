//! The harness for real managers, with services that are shell scripts: each manager tells ready
//! from not ready and failed, and nothing of a machine is left when it is gone.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use daemon_harness::managers::{
    Cron, Dinit, Machine, OpenRc, Pid1, Root, Runit, S6, Shim, Supervisord, Systemd, wait_until,
};
use daemon_harness::require;

const UNITS: &str = "/etc/systemd/system";

#[test]
fn systemd_tells_ready_from_not_ready_and_failed() {
    require!(machine(), tool("systemd-notify"));
    systemd_tells(Root::new());
}

#[test]
fn systemd_of_debian_13_tells_them_too() {
    require!(
        machine(),
        that(
            Root::debian("trixie").is_some(),
            "needs Debian trixie, unpacked by tests/setup"
        )
    );
    let machine = systemd_tells(Root::debian("trixie").expect("just seen"));
    assert!(machine.version() >= 257);
}

#[test]
fn systemd_of_debian_testing_tells_them_too() {
    require!(
        machine(),
        that(
            Root::debian("forky").is_some(),
            "needs Debian forky, unpacked by tests/setup"
        )
    );
    let machine = systemd_tells(Root::debian("forky").expect("just seen"));
    assert!(machine.version() >= 260);
}

fn systemd_tells(root: Root) -> Systemd {
    let notify = |script: &str| {
        format!("[Service]\nType=notify\nNotifyAccess=all\nExecStart=sh -c '{script}'\n")
    };
    let machine = Systemd::boot(
        root.text(
            format!("{UNITS}/good.service"),
            notify("echo said >&2; echo \"<3>wrong\" >&2; systemd-notify --ready --status=Fine; exec sleep 1000"),
        )
        .text(format!("{UNITS}/bad.service"), notify("echo cannot >&2; exit 81"))
        .text(format!("{UNITS}/slow.service"), notify("exec sleep 1000")),
    );

    machine.systemctl(["start", "good"]).expect_success();
    assert_eq!(machine.show("good", "ActiveState"), "active");
    wait_until("the status text", || {
        (machine.status_text("good") == "Fine").then_some(())
    });
    wait_until("the main process to be alone", || {
        (machine.processes("good") == [machine.main_pid("good").expect("it runs")]).then_some(())
    });
    let journal: Vec<_> = machine
        .journal("good")
        .into_iter()
        .map(|entry| (entry.priority, entry.message))
        .collect();
    assert_eq!(journal, [(6, "said".to_owned()), (3, "wrong".to_owned())]);

    assert!(!machine.systemctl(["start", "bad"]).success());
    assert_eq!(machine.show("bad", "Result"), "exit-code");
    assert_eq!(machine.show("bad", "ExecMainStatus"), "81");
    assert!(
        machine.status("bad").contains("cannot"),
        "{}",
        machine.status("bad")
    );

    machine
        .systemctl(["start", "--no-block", "slow"])
        .expect_success();
    machine.wait_for("slow", "ActiveState", "activating");
    machine
}

#[test]
fn s6_tells_ready_from_not_ready() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(
        Root::new()
            .script(
                "/run/service/x/run",
                "#!/bin/sh\nread -r _ </run/go\necho >&3\nexec 3>&-\nexec sleep 1000\n",
            )
            .script("/run/service/failing/run", "#!/bin/sh\nexit 81\n")
            .text("/run/service/x/notification-fd", "3\n")
            .text("/run/service/failing/down", ""),
    );
    machine.sh("mkfifo /run/go").expect_success();
    machine.svc("-r", "x").expect_success(); // should it have run before the FIFO was there
    machine.wait("-u", "x", 10_000).expect_success();
    // The one that may have run before goes first.
    wait_until("one that is not ready", || {
        (!machine.is_ready("x")).then_some(())
    });
    machine.sh("echo go >/run/go").expect_success();
    machine.wait("-U", "x", 10_000).expect_success();
    assert!(machine.is_ready("x"));
    assert_eq!(machine.pids("sleep"), Vec::from_iter(machine.pid("x")));

    machine.svc("-o", "failing").expect_success(); // once
    wait_until("the failure", || {
        (machine.field("failing", "exitcode") == "81").then_some(())
    });
}

#[test]
fn runit_tells_ready_from_not_ready() {
    require!(machine(), tool("runsvdir"));
    let machine = Runit::boot(
        Root::new()
            .script("/etc/service/x/run", "#!/bin/sh\nexec sleep 1000\n")
            .script("/etc/service/x/check", "#!/bin/sh\nexec test -e /run/up\n"),
    );
    wait_until("x", || machine.pid("x"));
    assert!(!machine.sv(1, "check", "x").success());
    machine.sh(": >/run/up").expect_success();
    machine.sv(5, "check", "x").expect_success();
    assert_eq!(machine.pids("sleep"), Vec::from_iter(machine.pid("x")));
    machine.sv(5, "down", "x").expect_success();
    assert_eq!(machine.pid("x"), None);
}

#[test]
fn supervisord_tells_running_from_failed() {
    require!(machine(), tool("supervisord"));
    let programs =
        "[program:x]\ncommand=sleep 1000\n[program:failing]\ncommand=false\nstartretries=0\n";
    let machine = Supervisord::boot(Root::new().text("/etc/supervisor/conf.d/all.conf", programs));
    machine.wait_for("x", "RUNNING");
    machine.wait_for("failing", "FATAL");
    assert_eq!(machine.pids("sleep"), Vec::from_iter(machine.pid("x")));
    machine.ctl(["stop", "x"]).expect_success();
    assert_eq!(machine.state("x"), "STOPPED");
}

#[test]
fn openrc_tells_started_from_failed() {
    require!(machine(), tool("openrc-init"));
    let run = |settings: &str| format!("#!/sbin/openrc-run\n{settings}");
    let machine = OpenRc::boot(
        Root::new()
            .script(
                "/etc/init.d/x",
                run("supervisor=supervise-daemon\ncommand=/bin/sleep\ncommand_args=1000\n"),
            )
            .script(
                "/etc/init.d/failing",
                run("command=/bin/false\npidfile=/run/failing.pid\n"),
            ),
    );
    machine.rc_service("x", "start").expect_success();
    wait_until("x", || machine.pid("x"));
    assert_eq!(machine.rc_service("x", "status").status, 0);
    machine.rc_service("x", "stop").expect_success();
    assert_eq!(machine.rc_service("x", "status").status, 3);
    assert!(!machine.rc_service("failing", "start").success());
}

#[test]
fn openrc_of_debian_testing_waits_for_readiness() {
    require!(
        machine(),
        that(
            Root::debian("forky").is_some(),
            "needs Debian forky, unpacked by tests/setup"
        )
    );
    let ready = "#!/bin/sh\nread -r _ </run/go\necho >&3\nexec 3>&-\nexec sleep 1000\n";
    let machine = OpenRc::boot(Root::debian("forky").expect("just seen").script("/usr/local/bin/ready", ready).script(
        "/etc/init.d/x",
        "#!/sbin/openrc-run\nsupervisor=supervise-daemon\ncommand=/usr/local/bin/ready\nnotify=fd:3\n",
    ));
    machine.sh("mkfifo /run/go").expect_success();
    let starting = machine
        .command(["rc-service", "x", "start"])
        .stdout(Stdio::null())
        .spawn()
        .expect("rc-service");
    wait_until("x to start", || machine.pids("ready").pop());
    assert_eq!(machine.rc_service("x", "status").status, 8, "starting");
    machine.sh("echo go >/run/go").expect_success();
    assert!(
        starting
            .wait_with_output()
            .expect("our child")
            .status
            .success()
    );
    assert_eq!(machine.rc_service("x", "status").status, 0);
}

#[test]
fn dinit_tells_ready_from_not_ready_and_failed() {
    require!(
        machine(),
        that(
            Dinit::is_there(),
            "needs dinit, which Debian has no package of"
        )
    );
    let ready = "#!/bin/bash\nread -r _ </run/go\necho >&$FD\nexec sleep 1000\n";
    let machine = Dinit::boot(
        Root::new()
            .script("/usr/local/bin/ready", ready)
            .text(
                "/etc/dinit.d/x",
                "type = process\ncommand = /usr/local/bin/ready\nready-notification = pipevar:FD\n",
            )
            .text(
                "/etc/dinit.d/failing",
                "type = process\ncommand = /bin/false\nready-notification = pipevar:FD\n",
            ),
    );
    machine.sh("mkfifo /run/go").expect_success();
    machine.ctl(["--no-wait", "start", "x"]).expect_success();
    assert_eq!(machine.state("x"), "STARTING");
    machine.sh("echo go >/run/go").expect_success();
    machine.ctl(["start", "x"]).expect_success();
    assert_eq!(machine.state("x"), "STARTED");
    wait_until("the sleep", || {
        (machine.pids("sleep") == Vec::from_iter(machine.pid("x"))).then_some(())
    });
    assert!(!machine.ctl(["start", "failing"]).success());
}

#[test]
fn start_stop_daemon_waits_for_readiness() {
    require!(machine(), tool("start-stop-daemon"), tool("systemd-notify"));
    let machine = Machine::boot(
        Root::new()
            .script(
                "/usr/local/bin/good",
                "#!/bin/sh\nsystemd-notify --ready\nexec sleep 1000\n",
            )
            .script("/usr/local/bin/bad", "#!/bin/sh\nexit 81\n"),
    );
    let start = [
        "start-stop-daemon",
        "--start",
        "--background",
        "--make-pidfile",
        "--pidfile",
        "/run/x.pid",
    ];
    let wait = ["--notify-await", "--notify-timeout", "10", "--startas"];
    machine
        .run(start.iter().chain(&wait).chain(&["/usr/local/bin/good"]))
        .expect_success();
    let pid = fs::read_to_string(machine.path("/run/x.pid")).expect("a pidfile");
    let pid: u32 = pid.trim().parse().expect("a pid");
    wait_until("the sleep", || {
        (machine.pids("sleep") == [pid]).then_some(())
    });
    machine
        .sh("start-stop-daemon --stop --pidfile /run/x.pid --retry 5")
        .expect_success();
    assert!(machine.pids("sleep").is_empty());
    assert!(
        !machine
            .run(start.iter().chain(&wait).chain(&["/usr/local/bin/bad"]))
            .success()
    );
}

#[test]
fn cron_mails_what_the_job_wrote() {
    require!(machine(), tool("cron"));
    let machine = Cron::boot(Root::new(), "echo out; echo err >&2; sleep 1000 & exit 4");
    let mail = machine.mail();
    assert!(mail.ends_with("\n\nout\nerr\nstatus 4\n"), "{mail}");
}

#[test]
fn a_container_tells_how_its_service_ended() {
    require!(machine(), tool("tini"), tool("dumb-init"));
    for shim in [
        Shim::None,
        Shim::Tini,
        Shim::DockerInit,
        Shim::DumbInit,
        Shim::Shell,
    ] {
        let script = "trap 'exit 81' TERM; sleep 1000 & echo up; wait";
        let machine = Pid1::boot(Root::new(), shim, ["sh", "-c", script]);
        wait_until("up", || machine.console().contains("up\n").then_some(()));
        if shim == Shim::Shell {
            continue; // sh forwards no signal
        }
        machine.signal_init("TERM");
        assert_eq!(machine.wait_for_end(), 81, "{shim:?}");
    }
}

#[test]
fn a_container_inherits_nothing_from_the_test() {
    require!(machine());
    let script = "cat /proc/self/status; env; for fd in /proc/self/fd/*; do echo $fd; done; echo end; read -r _";
    let machine = Pid1::boot(Root::new(), Shim::None, ["bash", "-c", script]);
    wait_until("the end", || {
        machine.console().contains("end\n").then_some(())
    });
    let seen = machine.console();
    let environment = ["PATH=", "PWD=", "SHLVL=", "_="];
    let (status, rest) = seen.split_once("PATH=").expect("the environment");
    for line in status.lines().filter(|line| {
        ["SigIgn", "SigBlk"]
            .iter()
            .any(|name| line.starts_with(name))
    }) {
        // glibc's posix_spawn, by which Cargo starts things, leaves its own two signals, 32 and 33,
        // ignored.
        let set = line
            .split_whitespace()
            .nth(1)
            .map(|set| u64::from_str_radix(set, 16));
        assert!(
            set.is_some_and(|set| set.is_ok_and(|set| set & !0x1_8000_0000 == 0)),
            "{line}"
        );
    }
    for line in rest.lines().skip(1).filter(|line| line.contains('=')) {
        assert!(
            environment.iter().any(|name| line.starts_with(name)),
            "{line}"
        );
    }
    // 3 is the directory itself, as the shell reads it.
    let mut descriptors: Vec<_> = rest
        .lines()
        .filter_map(|line| line.strip_prefix("/proc/self/fd/"))
        .collect();
    descriptors.retain(|fd| *fd != "255"); // bash's own
    assert_eq!(descriptors, ["0", "1", "2", "3"]);
}

#[test]
fn a_machine_has_its_own_network_and_files() {
    require!(machine(), tool("python3"));
    let machine = Machine::boot(
        Root::new()
            .text("/run/www/index.html", "hello")
            .empty("/etc/init.d"),
    );
    let server = "cd /run/www && exec python3 -m http.server --bind 127.0.0.1 80";
    let mut server = machine
        .command(["sh", "-c", server])
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let mut connection = wait_until("port 80", || machine.connect("127.0.0.1:80").ok());
    let mut answer = String::new();
    std::io::Write::write_all(&mut connection, b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(
        fs::read_dir(machine.path("/etc/init.d"))
            .expect("emptied")
            .next()
            .is_none()
    );
    drop(machine);
    server.wait().expect("our child");
    assert!(!Path::new("/run/www").exists());
}

#[test]
fn a_command_whose_output_someone_holds_is_not_over() {
    require!(machine());
    let machine = Machine::boot(Root::new());
    let ran = machine.sh("(sleep 0.3; echo late) & echo early");
    assert_eq!(ran.expect_success(), "early\nlate");
    assert_eq!(machine.sh("kill -9 $$").status, 137);
}

#[test]
fn nothing_is_left_of_a_machine_that_was_dropped() {
    require!(machine(), tool("systemd-notify"));
    let machine = Systemd::boot(Root::new().text(
        format!("{UNITS}/x.service"),
        "[Service]\nExecStart=sleep 1000\n",
    ));
    machine.systemctl(["start", "x"]).expect_success();
    machine
        .sh("touch /tmp/left /run/left /var/tmp/left /etc/left /left; setsid sleep 1000 >/dev/null 2>&1 &")
        .expect_success();
    let mark = machine
        .shared()
        .parent()
        .expect("a scratch directory")
        .to_owned();
    assert!(!traces(&mark).is_empty());
    drop(machine);
    assert_eq!(traces(&mark), Vec::<String>::new());
    for left in [
        "/tmp/left",
        "/run/left",
        "/var/tmp/left",
        "/etc/left",
        "/left",
    ] {
        assert!(!Path::new(left).exists(), "{left}");
    }
}

#[test]
fn nothing_is_left_of_a_machine_whose_test_was_killed() {
    require!(machine());
    let me = env::current_exe().expect("this test");
    let mut victim = Command::new(me)
        .args([
            "--exact",
            "--nocapture",
            "--ignored",
            "machines::booted_by_another_test",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test again");
    let mut mark = String::new();
    let mut output = victim.stdout.take().expect("a pipe");
    wait_until("the other test's machine", || {
        let mut byte = [0];
        let read = output.read(&mut byte).expect("its output");
        mark += std::str::from_utf8(&byte[..read]).expect("ASCII");
        mark.contains(" booted.").then_some(())
    });
    let mark = mark
        .split("machine ")
        .nth(1)
        .and_then(|rest| rest.split(" booted.").next())
        .expect("its directory");
    assert!(!traces(Path::new(mark)).is_empty());
    victim.kill().expect("our child");
    assert_eq!(victim.wait().expect("our child").signal(), Some(9));
    wait_until("the end of the machine", || {
        traces(Path::new(mark)).is_empty().then_some(())
    });
}

/// Boots a machine, says where, and waits to be killed.
#[test]
#[ignore = "part of nothing_is_left_of_a_machine_whose_test_was_killed"]
fn booted_by_another_test() {
    let machine = Machine::boot(Root::new());
    println!(
        "machine {} booted.",
        machine
            .shared()
            .parent()
            .expect("a scratch directory")
            .display()
    );
    machine.wait_for_end();
}

/// What there is of the machine with this scratch directory: processes that name it (its shepherd,
/// and PID 1 through its mounts), mounts, control groups and files.
fn traces(scratch: &Path) -> Vec<String> {
    let name = scratch
        .file_name()
        .expect("a name")
        .to_str()
        .expect("ASCII");
    let mut traces = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let process = entry.path();
        for file in ["cmdline", "mountinfo", "cgroup"] {
            let text = fs::read(process.join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(name) {
                traces.push(format!("{}/{file}", process.display()));
            }
        }
    }
    if scratch.exists() {
        traces.push(scratch.display().to_string());
    }
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let group = Path::new(hierarchy).join(name);
        if group.exists() {
            traces.push(group.display().to_string());
        }
    }
    traces
}
