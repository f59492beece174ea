//! What `unit` prints for the managers that Debian has no package of, and beside the service file;
//! H3: files that start on a fresh machine, by the paths that were called.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use daemon_harness::managers::{Dinit, Machine, Ran, Root, Systemd, wait_until};
use daemon_harness::{bin, require};
use tempfile::TempDir;

/// Settings of a service of its own user, whose directories no system has.
const SETTINGS: &str = "--set name=greeter --set user=greeter --set pidfile=/run/greeter/pid \
    --set working_directory=/var/lib/greeter --set stderr=/var/log/greeter/log --set reloads=";

/// A machine that has the service, and no more of it.
fn root() -> Root {
    with_service(Root::new())
}

fn with_service(root: Root) -> Root {
    root.copy("/usr/local/bin/settable", bin("settable"))
}

fn log(machine: &Machine) -> String {
    machine.wait_for_text("/var/log/greeter/log")
}

/// Waits until there are so many reloads in the log.
fn wait_for_reloads(machine: &Machine, count: usize) {
    wait_until("a reload", || {
        (log(machine).matches("reloaded\n").count() == count).then_some(())
    });
}

fn useradd(machine: &Machine) {
    let add = "echo greeter:x:700:700::/:/bin/sh >>/etc/passwd; echo greeter:x:700: >>/etc/group";
    machine.sh(add).expect_success();
}

#[track_caller]
fn assert_runs_as_greeter(machine: &Machine) {
    let [pid] = machine.pids("settable")[..] else {
        panic!("{:?}", machine.pids("settable"));
    };
    let status = fs::read_to_string(machine.path(format!("/proc/{pid}/status"))).expect("it runs");
    let uid = fs::read_to_string(machine.path("/etc/passwd"))
        .expect("it is there")
        .lines()
        .find_map(|line| {
            line.strip_prefix("greeter:x:")?
                .split(':')
                .next()
                .map(str::to_owned)
        })
        .expect("a user");
    assert!(status.contains(&format!("\nUid:\t{uid}\t")), "{status}");
    let directory = fs::read_link(machine.path(format!("/proc/{pid}/cwd"))).expect("it runs");
    assert!(
        directory.ends_with("var/lib/greeter"),
        "{}",
        directory.display()
    );
}

/// The commands in the comments of a file.
fn commands_in_comments(text: &str) -> String {
    let mut commands = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("# ")) {
        if let Some((_, command)) = line.split_once("greeter unit ") {
            let command = command.strip_suffix(" makes it.").expect("a command");
            commands.push(format!("settable {SETTINGS} unit {command}"));
        }
    }
    commands.join(" && ")
}

fn systemd(root: Root) {
    let machine = Systemd::boot(root);
    let unit = machine
        .sh(&format!("settable {SETTINGS} unit systemd"))
        .expect_success();
    fs::write(machine.path("/etc/systemd/system/greeter.service"), &unit).expect("it is ours");
    machine.systemctl(["daemon-reload"]).expect_success();
    assert!(!machine.systemctl(["start", "greeter"]).success(), "{unit}");
    machine.sh(&commands_in_comments(&unit)).expect_success();
    machine.systemctl(["start", "greeter"]).expect_success();
    assert_runs_as_greeter(&machine);
    machine.systemctl(["reload", "greeter"]).expect_success();
    wait_for_reloads(&machine, 1);

    // The service, in its sandbox, opens what logrotate has made.
    let rotate = format!(
        "settable {SETTINGS} unit logrotate >/etc/logrotate.d/greeter && logrotate --force --verbose /etc/logrotate.d/greeter"
    );
    if machine.sh("command -v logrotate").success() {
        machine.sh(&rotate).expect_success();
        assert_eq!(log(&machine), "reloaded\n");
        let old = machine.path("/var/log/greeter/log.1");
        assert_eq!(
            fs::read_to_string(old).expect("it is there"),
            "started\nreloaded\n"
        );
    }
    machine.systemctl(["stop", "greeter"]).expect_success();
    assert_eq!(machine.show("greeter", "Result"), "success");
}

#[test]
fn h3_systemd_starts_it_on_a_fresh_machine_when_the_comments_were_followed() {
    require!(machine(), tool("systemd-analyze"), tool("logrotate"));
    systemd(root());
}

#[test]
fn h3_systemd_of_debian_13_starts_it_on_a_fresh_machine() {
    require!(
        machine(),
        that(
            Root::debian("trixie").is_some(),
            "needs Debian trixie, unpacked by tests/setup"
        )
    );
    systemd(with_service(Root::debian("trixie").expect("just seen")));
}

#[test]
fn a_log_that_is_not_opened_again_is_truncated() {
    require!(machine(), tool("logrotate"));
    let machine = Machine::boot(root());
    let settable = "settable --set name=greeter --set pidfile=/run/greeter.pid --set stderr=/var/log/greeter.log";
    let script = format!(
        "{settable} start && {settable} unit logrotate >/tmp/stanza && logrotate --force /tmp/stanza"
    );
    machine.sh(&script).expect_success();
    let text = |path| fs::read_to_string(machine.path(path)).expect("it is there");
    assert_eq!(text("/var/log/greeter.log.1"), "started\n");
    assert_eq!(text("/var/log/greeter.log"), "");
    machine.sh(&format!("{settable} reload")).expect_success();
    wait_until("a line in the same file", || {
        (text("/var/log/greeter.log") == "reloaded\n").then_some(())
    });
}

#[test]
fn s6_rc_starts_it_on_a_fresh_machine_and_knows_when_it_is_ready() {
    require!(machine(), tool("s6-svscan"), tool("s6-rc-compile"));
    let machine = Machine::boot_with(root().empty("/run/service"), ["s6-svscan", "/run/service"]);
    useradd(&machine);
    wait_until("s6-svscan's FIFO", || {
        let fifo = machine.path("/run/service/.s6-svscan/control");
        fifo.exists().then_some(())
    });
    let install = format!(
        "settable {SETTINGS} --set start_timeout=60000 --set stop_timeout=30000 unit s6-rc | sh -s /etc/s6-rc/source && \
         s6-rc-compile /etc/s6-rc/compiled /etc/s6-rc/source && s6-rc-init -c /etc/s6-rc/compiled /run/service"
    );
    machine.sh(&install).expect_success();
    machine.sh("s6-rc -u change greeter").expect_success();
    // It returns when the service is ready.
    assert_runs_as_greeter(&machine);
    assert_eq!(log(&machine), "started\n");
    machine.sh("s6-rc -d change greeter").expect_success();
    assert!(machine.pids("settable").is_empty());
}

#[test]
fn dinit_starts_it_on_a_fresh_machine_and_knows_when_it_is_ready() {
    require!(
        machine(),
        that(
            Dinit::is_there(),
            "needs dinit, which Debian has no package of"
        )
    );
    let machine = Dinit::boot(root());
    useradd(&machine);
    let settings = format!(
        "{SETTINGS} --set start_timeout=60000 --set stop_timeout=30000 --set 'name=greeter'"
    );
    machine
        .sh(&format!(
            "settable {settings} unit dinit >/etc/dinit.d/greeter"
        ))
        .expect_success();
    machine.ctl(["start", "greeter"]).expect_success();
    assert_runs_as_greeter(&machine);
    assert_eq!(log(&machine), "started\n");
    assert_eq!(Some(machine.pids("settable")[0]), machine.pid("greeter"));
    machine.ctl(["stop", "greeter"]).expect_success();
    assert!(machine.pids("settable").is_empty());
}

#[test]
fn systemd_runs_instances_of_a_template_each_with_its_sockets() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root());
    let settable =
        "settable --set name=greeter-alpha --set pidfile=/run/greeter/alpha.pid --set reloads=";
    let sockets =
        "--listen http=/run/alpha.sock,mode=0660,group=adm --listen log=/run/alpha.log,datagram";
    let install = format!(
        "{settable} unit --template alpha {sockets} systemd | sh -s /etc/systemd/system && systemctl daemon-reload"
    );
    machine.sh(&install).expect_success();
    for instance in ["alpha", "beta"] {
        let unit = format!("greeter@{instance}");
        machine.systemctl(["start", &unit]).expect_success();
        machine.systemctl(["reload", &unit]).expect_success();
        let pid = machine.main_pid(&unit).expect("it runs").to_string();
        let pidfile = machine.wait_for_text(&format!("/run/greeter/{instance}.pid"));
        assert_eq!(pidfile.trim(), pid);
        let socket = machine.path(format!("/run/{instance}.sock"));
        let metadata = fs::symlink_metadata(socket).expect("it is there");
        assert_eq!(metadata.mode() & 0o777, 0o660);
        let adm = machine.sh("stat -c %G /run/alpha.sock").expect_success();
        assert_eq!(adm, "adm");
        let mut said: Vec<_> = machine
            .journal(&unit)
            .into_iter()
            .map(|entry| entry.message)
            .collect();
        said.sort();
        let of_the_command = format!("greeter-{instance} reloaded");
        assert_eq!(
            said,
            [
                of_the_command.as_str(),
                "has http",
                "has log",
                "reloaded",
                "started"
            ]
        );
    }
    machine
        .systemctl(["stop", "greeter@alpha"])
        .expect_success();
    assert!(machine.main_pid("greeter@beta").is_some());
}

/// A user's manager, without a login.
const USER_MANAGER: &str = "[Service]
Type=notify
User=daemon
Delegate=yes
RuntimeDirectory=login
Environment=XDG_RUNTIME_DIR=/run/login HOME=/var/home
ExecStart=/lib/systemd/systemd --user
";

#[test]
fn systemd_of_a_user_runs_it() {
    require!(machine(), tool("systemd-analyze"), tool("setpriv"));
    let machine = Systemd::boot(
        root()
            .empty("/var/home")
            .text("/etc/systemd/system/login.service", USER_MANAGER),
    );
    machine.sh("chown daemon /var/home").expect_success();
    machine.systemctl(["start", "login"]).expect_success();
    let as_user = |command: &str| {
        machine.sh(&format!(
            "setpriv --reuid=daemon --regid=daemon --clear-groups env HOME=/var/home XDG_RUNTIME_DIR=/run/login sh -c '{command}'"
        ))
    };
    let settable = "settable --set name=greeter --set pidfile= --set stderr=usual --set reloads=";
    let put = format!(
        "mkdir -p /var/home/.config/systemd/user && cd /var/home/.config/systemd/user && {settable} unit --user systemd >greeter.service && systemctl --user daemon-reload"
    );
    as_user(&put).expect_success();
    as_user("systemctl --user enable --now greeter").expect_success();
    let [pid] = machine.pids("settable")[..] else {
        panic!("{:?}", machine.pids("settable"));
    };
    let pidfile = machine.wait_for_text("/run/login/greeter.pid");
    assert_eq!(pidfile.trim(), pid.to_string());
    as_user("systemctl --user reload greeter").expect_success();
    as_user("systemctl --user stop greeter").expect_success();
    assert!(machine.pids("settable").is_empty());
}

#[test]
fn sysusers_and_tmpfiles_find_no_fault() {
    require!(root(), tool("systemd-sysusers"), tool("systemd-tmpfiles"));
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("etc")).expect("a directory");
    let settings = "--set group=adm --set groups=mail";
    for (kind, tool) in [
        ("sysusers", "systemd-sysusers"),
        ("tmpfiles", "systemd-tmpfiles --create"),
    ] {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!(
            "{} {SETTINGS} {settings} unit {kind} --description 'A greeter: 100%' | {tool} --root={} -",
            bin("settable").display(),
            root.path().display(),
        ));
        let made = Ran::of(shell);
        assert!(made.success(), "{made}");
    }
    let read = |path: &str| fs::read_to_string(root.path().join(path)).expect("it is made");
    let groups = read("etc/group");
    assert!(
        groups.contains("adm:x:") && groups.contains("mail:x:"),
        "{groups}"
    );
    let users = read("etc/passwd");
    assert!(
        users.contains(":greeter:/var/lib/greeter:/usr/sbin/nologin"),
        "{users}"
    );
    for directory in ["run/greeter", "var/lib/greeter", "var/log/greeter"] {
        assert!(root.path().join(directory).is_dir(), "{directory}");
    }
}

/// What a program says that was called by a shell in this directory.
fn called(directory: &Path, command: &str) -> String {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(directory)
        .env("PATH", format!("{}/bin:/usr/bin:/bin", directory.display()));
    let ran = Ran::of(shell);
    format!("{}{}", ran.stdout, ran.stderr)
}

/// `releases/1/settable`, and `bin/settable`, a symbolic link to it.
fn releases() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let release = directory.path().join("releases/1");
    fs::create_dir_all(&release).expect("a directory");
    fs::copy(bin("settable"), release.join("settable")).expect("a copy");
    fs::create_dir(directory.path().join("bin")).expect("a directory");
    symlink(
        "../releases/1/settable",
        directory.path().join("bin/settable"),
    )
    .expect("a link");
    directory
}

#[test]
fn h3_the_path_is_the_one_that_was_called_not_what_is_behind_it() {
    let directory = releases();
    let link = directory.path().join("bin/settable");
    let start = format!("\nExecStart={} run\n", link.display());
    for command in [
        "settable unit systemd",
        "bin/settable unit systemd",
        "cd bin && ./settable unit systemd",
        &format!("{} unit systemd", link.display()),
    ] {
        let text = called(directory.path(), command);
        assert!(text.contains(&start), "{command}: {text}");
    }
}

#[test]
fn h3_a_binary_that_was_removed_is_not_printed() {
    let directory = releases();
    let text = called(
        directory.path(),
        "exec 3<releases/1/settable; rm releases/1/settable; /proc/self/fd/3 unit systemd",
    );
    assert!(text.contains("the file was removed"), "{text}");
    assert!(!text.contains("ExecStart"), "{text}");
}

#[test]
fn h3_a_path_from_here_becomes_absolute_and_what_may_be_one_is_said() {
    let directory = releases();
    fs::create_dir(directory.path().join("etc")).expect("a directory");
    fs::write(directory.path().join("etc/conf"), "").expect("a file");
    fs::write(directory.path().join("conf"), "").expect("a file");
    let printed = |arguments: &str, manager: &str| {
        called(
            directory.path(),
            &format!("settable {arguments} unit {manager}"),
        )
    };
    let conf = directory.path().join("etc/conf");
    for (arguments, words) in [
        ("--config etc/conf", format!("--config {}", conf.display())),
        ("--config=etc/conf", format!("--config={}", conf.display())),
    ] {
        let text = printed(arguments, "systemd");
        assert!(text.contains(&format!("settable {words} run\n")), "{text}");
        assert!(!text.contains("where this was printed"), "{text}");
    }
    for (manager, comment) in [
        ("systemd", "# \"conf\" is a file where this was printed"),
        ("openrc", "\n# \"conf\" is a file where this was printed"),
        ("supervisord", "; \"conf\" is a file where this was printed"),
        ("launchd", "<!-- \"conf\" is a file where this was printed"),
        ("dinit", "# \"conf\" is a file where this was printed"),
    ] {
        let text = printed("--config conf", manager);
        assert!(text.contains(comment), "{text}");
    }
}

/// It need not be there: the service makes it.
#[test]
fn a_relative_pidfile_becomes_absolute() {
    let directory = tempfile::tempdir().expect("a directory");
    for pidfile in ["run/pid", "./pid", "pid"] {
        let line = format!("--pidfile {pidfile} --note elsewhere/note unit systemd");
        let text = called(
            directory.path(),
            &format!("mkdir -p run; {} {line}", bin("embedded").display()),
        );
        let words = format!(
            "--pidfile {}/{} --note elsewhere/note run\n",
            directory.path().display(),
            pidfile.trim_start_matches("./")
        );
        assert!(text.contains(&words), "{text}");
    }
}

#[test]
fn h3_only_what_reloads_is_told_to() {
    let directory = releases();
    for manager in ["systemd", "openrc", "sysv", "rc.d", "procd"] {
        let pidfile = "--set pidfile=/run/x/pid";
        let printed = |settings: &str| {
            called(
                directory.path(),
                &format!("settable {pidfile} {settings} unit {manager}"),
            )
        };
        let reload = [
            "ExecReload=",
            "reload() {",
            "reload | status",
            "=reload",
            "reload_service",
        ];
        let reloads = |text: String| reload.iter().any(|word| text.contains(word));
        assert!(!reloads(printed("")), "{}", printed(""));
        assert!(reloads(printed("--set reloads=")), "{manager}");
    }
}
