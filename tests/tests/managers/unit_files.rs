//! The service files that `unit` prints: taken by the managers' own tools, and run by the managers
//! as they were printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon_harness::managers::{
    Machine, OpenRc, Ran, Root, Runit, S6, Supervisord, Systemd, wait_until,
};
use daemon_harness::{bin, require};
use tempfile::TempDir;

/// Where the service is: something for each format to quote.
const PLACE: &str = "/opt/50% of $HOME; #1/controlled";
/// The same for a shell.
const CALL: &str = "'/opt/50% of $HOME; #1/controlled'";

/// This machine, with the service.
fn root() -> Root {
    with_service(Root::new())
}

/// Its directories are not there: it is a fresh machine.
fn with_service(root: Root) -> Root {
    root.copy(PLACE, bin("controlled"))
}

/// Has the service print its file for a manager, and `install` read it.
fn install(machine: &Machine, manager: &str, install: &str) {
    let script = format!("{CALL} unit {manager} >/tmp/unit && {install}");
    machine.sh(&script).expect_success();
}

/// The process in the pidfile.
fn pid(machine: &Machine) -> u32 {
    machine
        .wait_for_text("/run/controlled/controlled.pid")
        .trim()
        .parse()
        .expect("a pid")
}

/// Waits until the service has started, and makes sure that it is as its settings say.
#[track_caller]
fn assert_as_set(machine: &Machine) {
    wait_until("the service to listen", || {
        machine.connect("127.0.0.1:80").ok()
    });
    let pid = pid(machine);
    assert_eq!(machine.pids("controlled"), [pid]);
    let status = fs::read_to_string(machine.path(format!("/proc/{pid}/status"))).expect("it runs");
    let value = |field: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("a field")
            .trim()
    };
    assert_eq!(value("Uid:").split_whitespace().next(), Some("65534"));
    assert_eq!(value("Umask:"), "0027");
    assert_eq!(value("CapEff:"), format!("{:016x}", 1 << 10));
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_resources(machine, pid);
    let directory = fs::read_link(machine.path(format!("/proc/{pid}/cwd"))).expect("it runs");
    assert!(
        directory.ends_with("var/lib/controlled"),
        "{}",
        directory.display()
    );
    assert_eq!(
        machine
            .wait_for_text("/var/log/controlled.log")
            .lines()
            .next(),
        Some("started")
    );
}

#[track_caller]
fn assert_resources(machine: &Machine, pid: u32) {
    let read = |name: &str| fs::read_to_string(machine.path(format!("/proc/{pid}/{name}")));
    let limits = read("limits").expect("it runs");
    let has = |name: &str, values: [&str; 2]| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let words = line.expect("a limit").split_whitespace();
        assert_eq!(words.take(2).collect::<Vec<_>>(), values, "{name}");
    };
    has("Max open files", ["512", "1024"]);
    has("Max core file size", ["0", "unlimited"]);
    let stat = read("stat").expect("it runs");
    let after_name = stat.rsplit(')').next().expect("fields");
    assert_eq!(after_name.split_whitespace().nth(16), Some("5"), "nice");
    assert_eq!(read("oom_score_adj").expect("it runs").trim(), "100");
    let status = read("status").expect("it runs");
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
}

fn reloads(machine: &Machine) -> usize {
    fs::read_to_string(machine.path("/var/lib/controlled/reloads"))
        .map_or(0, |text| text.lines().count())
}

fn controlled(machine: &Machine, command: &str) -> Ran {
    machine.sh(&format!("{CALL} {command}"))
}

fn boot_systemd(root: Root) -> Systemd {
    let machine = Systemd::boot(root);
    install(
        &machine,
        "systemd",
        "cp /tmp/unit /etc/systemd/system/controlled.service && systemctl daemon-reload",
    );
    machine
}

/// Start, reload, restart and stop, by systemd and by the service's own commands.
fn runs_under(machine: &Systemd) {
    machine.systemctl(["start", "controlled"]).expect_success();
    assert_as_set(machine);
    assert_eq!(machine.main_pid("controlled"), Some(pid(machine)));
    machine.systemctl(["reload", "controlled"]).expect_success();
    assert_eq!(
        reloads(machine),
        1,
        "it has reloaded when systemctl returns"
    );
    controlled(machine, "status").expect_success();
    machine
        .systemctl(["restart", "controlled"])
        .expect_success();
    assert_as_set(machine);
    machine.systemctl(["stop", "controlled"]).expect_success();
    assert_eq!(machine.show("controlled", "Result"), "success");
    assert!(machine.pids("controlled").is_empty());
}

#[test]
fn systemd_runs_it() {
    require!(machine(), tool("systemd-analyze"));
    runs_under(&boot_systemd(root()));
}

#[test]
fn systemd_of_debian_13_runs_it() {
    require!(
        machine(),
        that(
            Root::debian("trixie").is_some(),
            "needs Debian trixie, unpacked by tests/setup"
        )
    );
    runs_under(&boot_systemd(with_service(
        Root::debian("trixie").expect("just seen"),
    )));
}

#[test]
fn systemd_gives_up_and_breaks_nothing_where_another_instance_runs() {
    require!(machine(), tool("systemd-analyze"));
    let machine = boot_systemd(root());
    let make = "mkdir /run/controlled && install -d -o nobody /var/lib/controlled";
    machine.sh(make).expect_success();
    controlled(&machine, "start").expect_success();
    let first = pid(&machine);
    assert!(!machine.systemctl(["start", "controlled"]).success());
    assert_eq!(machine.show("controlled", "ExecMainStatus"), "80");
    assert_eq!(machine.show("controlled", "NRestarts"), "0");
    assert_eq!(machine.show("controlled", "ActiveState"), "failed");
    assert_eq!(pid(&machine), first);
    controlled(&machine, "stop").expect_success();
    machine.systemctl(["start", "controlled"]).expect_success();
    assert_as_set(&machine);
}

#[test]
fn h4_systemd_does_not_try_a_broken_configuration_again() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(
        Root::new()
            .copy("/usr/bin/embedded", bin("embedded"))
            .text("/etc/embedded", "note=hello"),
    );
    let install = "embedded --pidfile /run/embedded.pid --config /etc/embedded unit systemd >/etc/systemd/system/embedded.service && systemctl daemon-reload";
    machine.sh(install).expect_success();
    machine.systemctl(["start", "embedded"]).expect_success();
    machine.systemctl(["stop", "embedded"]).expect_success();
    machine.sh("echo broken >/etc/embedded").expect_success();
    assert!(!machine.systemctl(["start", "embedded"]).success());
    assert_eq!(machine.show("embedded", "ActiveState"), "failed");
    assert_eq!(machine.show("embedded", "ExecMainStatus"), "78");
    assert_eq!(machine.show("embedded", "NRestarts"), "0");
}

#[test]
fn systemd_gives_up_root_beforehand_where_nothing_needs_it() {
    require!(machine(), tool("systemd-analyze"));
    let units = unpacked("activated.service");
    let [service, socket] = ["greeter.service", "greeter.socket"]
        .map(|unit| fs::read_to_string(units.path().join(unit)).expect("it is there"));
    let call =
        "#!/bin/sh\nexec /usr/bin/svc user=daemon capabilities=CAP_NET_BIND_SERVICE \"$@\"\n";
    let machine = Systemd::boot(
        Root::new()
            .copy("/usr/bin/svc", bin("svc"))
            .script("/usr/bin/greeter", call)
            .text("/etc/systemd/system/greeter.service", service)
            .text("/etc/systemd/system/greeter.socket", socket),
    );
    machine.systemctl(["start", "greeter"]).expect_success();
    let pid = machine.main_pid("greeter").expect("it runs");
    let status = fs::read_to_string(machine.path(format!("/proc/{pid}/status"))).expect("it runs");
    assert!(status.contains("\nUid:\t1\t1\t1\t1\n"), "{status}");
    assert!(
        status.contains(&format!("\nCapPrm:\t{:016x}\n", 1 << 10)),
        "{status}"
    );
    assert!(
        machine.connect("127.0.0.1:80").is_ok(),
        "the socket is open"
    );
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.show("greeter", "Result"), "success");
}

#[test]
fn what_is_not_a_setting_is_said_on_the_command_line() {
    let arguments = [
        "unit",
        "--description",
        "Says hello",
        "--listen",
        "127.0.0.1:80",
        "systemd",
    ];
    let printed = std::process::Command::new(bin("controlled"))
        .args(arguments)
        .output()
        .expect("it runs");
    let text = String::from_utf8(printed.stdout).expect("it is text");
    let (service, socket) = text
        .split_once("cat >controlled.socket")
        .expect("two files");
    assert!(service.contains("\nDescription=Says hello\n"), "{text}");
    assert!(socket.contains("\nListenStream=127.0.0.1:80\n"), "{text}");
    // Without a `privileged_init` the bounding set is known.
    assert!(service.contains("\nCapabilityBoundingSet="), "{text}");
}

#[test]
fn openrc_runs_it() {
    require!(machine(), tool("openrc-init"));
    openrc(&OpenRc::boot(root()));
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
    let machine = OpenRc::boot(with_service(Root::debian("forky").expect("just seen")));
    openrc(&machine);
    machine.sh("chown root /var/lib/controlled && chmod 755 /var/lib/controlled && rm /var/lib/controlled/started");
    assert!(
        !machine.rc_service("controlled", "start").success(),
        "it cannot write its directory"
    );
}

fn openrc(machine: &OpenRc) {
    install(
        machine,
        "openrc",
        "cp /tmp/unit /etc/init.d/controlled && chmod 755 /etc/init.d/controlled",
    );
    machine.rc_service("controlled", "start").expect_success();
    assert_as_set(machine);
    machine.rc_service("controlled", "reload").expect_success();
    assert_eq!(reloads(machine), 1);
    machine.rc_service("controlled", "restart").expect_success();
    assert_as_set(machine);
    machine.rc_service("controlled", "stop").expect_success();
    wait_until("its end", || {
        machine.pids("controlled").is_empty().then_some(())
    });
}

#[test]
fn s6_runs_it_and_knows_when_it_is_ready() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(Root::empty(root(), "/run/service"));
    install(
        &machine,
        "s6",
        "sh -s /etc/s6/sv </tmp/unit && ln -s /etc/s6/sv/controlled /run/service && s6-svscanctl -a /run/service",
    );
    wait_until("its supervisor", || {
        machine
            .path("/etc/s6/sv/controlled/supervise/status")
            .exists()
            .then_some(())
    });
    machine.wait("-U", "controlled", 10_000).expect_success();
    assert!(machine.is_ready("controlled"));
    assert_as_set(&machine);
    assert_eq!(machine.pid("controlled"), Some(pid(&machine)));
    machine.svc("-d", "controlled").expect_success();
    machine.wait("-D", "controlled", 10_000).expect_success();

    controlled(&machine, "start").expect_success();
    machine.svc("-u", "controlled").expect_success();
    wait_until("s6 to give up", || {
        (machine.field("controlled", "exitcode") == "80").then_some(())
    });
    wait_until("s6 to give up", || {
        (machine.field("controlled", "wantedup") == "false").then_some(())
    });
}

#[test]
fn runit_runs_it() {
    require!(machine(), tool("runsvdir"));
    let machine = Runit::boot(root());
    install(
        &machine,
        "runit",
        "sh -s /etc/sv </tmp/unit && ln -s /etc/sv/controlled /etc/service",
    );
    assert_as_set(&machine);
    assert_eq!(machine.pid("controlled"), Some(pid(&machine)));
    machine.sv(10, "down", "controlled").expect_success();
    wait_until("its end", || {
        machine.pids("controlled").is_empty().then_some(())
    });

    controlled(&machine, "start").expect_success();
    machine.sv(1, "up", "controlled");
    let status = || machine.sv(1, "status", "controlled").stdout;
    wait_until("runit to give up", || {
        status().starts_with("down: ").then_some(())
    });
    assert_eq!(machine.pids("controlled").len(), 1);
}

#[test]
fn supervisord_runs_it() {
    require!(machine(), tool("supervisord"));
    let machine = Supervisord::boot(root());
    let update = "supervisorctl -c /etc/supervisor/supervisord.conf update";
    let put =
        "mkdir -p /etc/supervisor/conf.d && cp /tmp/unit /etc/supervisor/conf.d/controlled.conf";
    install(&machine, "supervisord", &format!("{put} && {update}"));
    machine.wait_for("controlled", "RUNNING");
    assert_as_set(&machine);
    assert_eq!(machine.pid("controlled"), Some(pid(&machine)));
    machine.ctl(["stop", "controlled"]).expect_success();
    assert_eq!(machine.state("controlled"), "STOPPED");
}

#[test]
fn an_init_script_runs_it() {
    require!(machine());
    let machine = Machine::boot(root());
    install(
        &machine,
        "sysv",
        "cp /tmp/unit /etc/init.d/controlled && chmod 755 /etc/init.d/controlled",
    );
    let script = |command: &str| machine.run(["/etc/init.d/controlled", command]);
    assert_eq!(script("status").status, 3);
    assert_eq!(script("stop").status, 0);
    script("try-restart").expect_success();
    assert_eq!(script("status").status, 3);
    script("start").expect_success();
    assert_as_set(&machine);
    let first = pid(&machine);
    script("start").expect_success();
    assert_eq!(pid(&machine), first, "it ran already");
    assert_eq!(script("status").status, 0);
    script("reload").expect_success();
    script("force-reload").expect_success();
    assert_eq!(reloads(&machine), 2);
    script("try-restart").expect_success();
    assert_ne!(pid(&machine), first);
    script("stop").expect_success();
    // An ordinary user cannot remove root's pidfile, but that is no sign of a crash.
    assert_eq!(script("status").status, 3);
    assert_eq!(script("what").status, 2);
    // H3: as after a boot.
    machine.sh("rm -r /run/controlled").expect_success();
    script("restart").expect_success();
    assert_as_set(&machine);
    script("stop").expect_success();
    machine.sh(&format!("rm {CALL}")).expect_success();
    assert_eq!(
        ["stop", "status", "start"].map(|command| script(command).status),
        [0, 4, 5]
    );
}

#[test]
fn systemd_finds_no_fault() {
    require!(tool("systemd-analyze"));
    for (golden, scope) in [
        ("greeter.service", "--system"),
        ("activated.service", "--system"),
        ("template.service", "--system"),
        ("user.service", "--user"),
    ] {
        let directory = unpacked(golden);
        let mut verify = Command::new("systemd-analyze");
        verify.args([scope, "verify", "--man=no", "--recursive-errors=no"]);
        // The files of a user are looked for there.
        verify.env("XDG_RUNTIME_DIR", directory.path());
        for unit in fs::read_dir(directory.path()).expect("a directory") {
            let path = unit.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("it is there");
            fs::write(&path, text.replace("/usr/bin/greeter", "/bin/true")).expect("it is ours");
            verify.arg(path);
        }
        let found = Ran::of(verify);
        assert!(
            found.success() && found.stderr.is_empty(),
            "{golden}: {found}"
        );
    }
}

/// The files of a kept file, in a directory of their own: several are a script that creates them.
fn unpacked(golden: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = self::golden(golden);
    let text = fs::read_to_string(&kept).expect("it is there");
    if text.contains("pipe it into sh -s") {
        let mut create = Command::new("sh");
        create.arg(kept).arg(directory.path());
        Ran::of(create).expect_success();
    } else {
        fs::write(directory.path().join(golden), text).expect("it can be written");
    }
    directory
}

/// The files that are shell scripts, or scripts that create some.
const SCRIPTS: [&str; 9] = [
    "greeter.sysv",
    "greeter.openrc",
    "greeter.s6",
    "greeter.s6-rc",
    "greeter.runit",
    "greeter.rc.d",
    "greeter.procd",
    "activated.service",
    "template.service",
];

#[test]
fn shells_find_no_fault() {
    for script in SCRIPTS {
        let mut check = Command::new("sh");
        check.arg("-n").arg(golden(script));
        Ran::of(check).expect_success();
    }
}

#[test]
fn shellcheck_finds_no_fault() {
    require!(tool("shellcheck"));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/managers");
    for example in ["rc.d/greeter", "procd/greeter", "openrc/notify/greeter"] {
        shellcheck(&examples.join(example));
    }
    for script in SCRIPTS {
        shellcheck(&golden(script));
        let inside = unpacked(script);
        for name in ["run", "finish"] {
            let path = inside.path().join("greeter").join(name);
            if path.exists() {
                shellcheck(&path);
            }
        }
    }
}

fn shellcheck(script: &Path) {
    let mut check = Command::new("shellcheck");
    // Who sources it uses its variables, and other files are not there.
    check.args(["-s", "sh", "-e", "SC1091,SC2034"]).arg(script);
    let found = Ran::of(check);
    assert!(found.success(), "{}: {found}", script.display());
}

#[test]
fn dinit_finds_no_fault() {
    require!(tool("dinitcheck"));
    let directory = tempfile::tempdir().expect("a directory");
    let description = fs::read_to_string(golden("greeter.dinit")).expect("it is there");
    fs::write(directory.path().join("greeter"), description).expect("it is ours");
    let mut check = Command::new("dinitcheck");
    check.arg("-d").arg(directory.path()).arg("greeter");
    Ran::of(check).expect_success();
}

#[test]
fn logrotate_finds_no_fault() {
    require!(tool("logrotate"));
    let mut check = Command::new("logrotate");
    check
        .args(["--debug", "--state", "/dev/null"])
        .arg(golden("greeter.logrotate"));
    let found = Ran::of(check);
    assert!(
        found.success() && !found.stderr.contains("error:"),
        "{found}"
    );
}

#[test]
fn a_property_list_is_one() {
    require!(tool("python3"));
    let program = "import plistlib, sys
service = plistlib.load(open(sys.argv[1], 'rb'))
assert service['ProgramArguments'] == ['/usr/bin/greeter', '--config', '/etc/my greeter.toml', 'run'], service
assert service['Umask'] == 0o027, service
assert service['KeepAlive'] == {'SuccessfulExit': False}, service";
    let mut check = Command::new("python3");
    check.arg("-c").arg(program).arg(golden("greeter.plist"));
    Ran::of(check).expect_success();
}

/// A file as daemon-rt's own tests keep it.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../daemon-rt/src/cli/unit/golden")
        .join(name)
}
