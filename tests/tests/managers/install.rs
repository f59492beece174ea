//! `install`, `uninstall`, `enable` and `disable`, under each manager.
//!
//! They change a system. So they are called in a machine, and nowhere else.

use std::fs;

use daemon_harness::managers::{
    Dinit, Machine, OpenRc, PLAIN_INIT, Ran, Root, S6, Systemd, wait_until,
};
use daemon_harness::{bin, require};

/// The service, with arguments that its file has to have.
const CALL: &str = "embedded --pidfile /run/embedded.pid --config /etc/embedded";
/// The same in another version.
const NEW_CALL: &str = "embedded --note new --pidfile /run/embedded.pid --config /etc/embedded";

/// A manager with the service.
struct Under<'m> {
    machine: &'m Machine,
    /// The file that is installed.
    file: &'static str,
    /// The service's process, as the manager has it.
    pid: &'m dyn Fn() -> Option<u32>,
    /// Has the manager end and begin as a boot does.
    reboot: &'m dyn Fn(),
}

fn root() -> Root {
    with_service(Root::new())
}

fn with_service(root: Root) -> Root {
    root.copy("/usr/bin/embedded", bin("embedded"))
        .text("/etc/embedded", "note=hello\n")
}

/// Calls the service in the machine, or another command that changes a system.
fn call(machine: &Machine, line: &str) -> Ran {
    let namespace =
        |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).expect("it is");
    let inside = namespace(&machine.init().to_string());
    assert_ne!(inside, namespace("self"), "it would change this system");
    machine.sh(&format!("{line}; exit $?"))
}

/// The files that a service might be installed among, with their contents.
fn listing(machine: &Machine) -> String {
    let list = "cd /etc && list=$(ls -d systemd init.d rc?.d runlevels sv service scan s6 s6-rc/source supervisor dinit.d 2>/dev/null)
        find $list -printf '%M %u %p %l\\n' | sort
        find $list -type f ! -name .depend.* -exec cksum {} + | sort
        find /etc /var/lib -name '*embedded*' | sort";
    machine.sh(list).expect_success()
}

#[track_caller]
fn assert_same(machine: &Machine, before: &str) {
    let now = listing(machine);
    let differ = |one: &str, other: &str| -> Vec<String> {
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    let (more, less) = (differ(&now, before), differ(before, &now));
    assert!(more.is_empty() && less.is_empty(), "{more:#?} {less:#?}");
}

impl Under<'_> {
    fn call(&self, command: &str) -> Ran {
        call(self.machine, &format!("{CALL} {command}"))
    }

    /// Waits until the manager has the one process of the service, which is ready.
    #[track_caller]
    fn assert_runs(&self) -> u32 {
        let pid = wait_until("the service", || {
            let ready = self.call("status").status == 0;
            (self.pid)().filter(|pid| ready && self.machine.pids("embedded") == [*pid])
        });
        let pidfile = fs::read_to_string(self.machine.path("/run/embedded.pid"));
        assert_eq!(pidfile.expect("it runs").trim(), pid.to_string());
        pid
    }

    #[track_caller]
    fn assert_down(&self) {
        // supervise-daemon of OpenRC does not wait for its end.
        wait_until("its end", || {
            let ended = self.machine.pids("embedded").is_empty() && (self.pid)().is_none();
            ended.then_some(())
        });
    }

    fn sh(&self, script: &str) -> String {
        self.machine.sh(script).expect_success()
    }

    /// All of it.
    fn show(&self) {
        let before = listing(self.machine);
        self.dry_run_changes_nothing(&before);
        self.is_installed_once();
        self.is_switched();
        self.is_updated();
        self.administrators_change_is_kept();
        self.an_ordinary_user_is_refused();
        self.is_uninstalled(&before);
        self.is_installed_without_a_start(&before);
        self.a_broken_configuration_is_not_installed(&before);
    }

    fn dry_run_changes_nothing(&self, before: &str) {
        let said = self.call("install --now --dry-run").expect_success();
        assert!(said.contains(&format!("# {}, mode ", self.file)), "{said}");
        assert!(said.contains("--config /etc/embedded"), "{said}");
        assert_same(self.machine, before);
        self.assert_down();
        let said = self.call("uninstall --dry-run").expect_success();
        assert_eq!(said, "embedded is not installed");
        assert_ne!(self.call("enable").status, 0);
    }

    fn is_installed_once(&self) {
        let said = self.call("install --now").expect_success();
        let pid = self.assert_runs();
        let file = self.file;
        assert_eq!(
            said,
            format!("embedded installed: {file}; started: pid {pid}")
        );
        let installed = format!("embedded is already installed: {file}");
        assert_eq!(self.call("install").expect_success(), installed);
        assert_eq!(
            self.call("install --now").expect_success(),
            format!("{installed}; runs already: pid {pid}")
        );
        assert_eq!(self.assert_runs(), pid);
        assert_eq!(self.assert_runs(), pid);
    }

    fn is_switched(&self) {
        let pid = self.assert_runs();
        for _twice in 0..2 {
            let said = self.call("disable").expect_success();
            assert_eq!(said, "embedded disabled: it is not started at boot");
        }
        assert_eq!(self.assert_runs(), pid, "it goes on");
        let said = self.call("install").expect_success();
        assert!(said.contains("already installed"), "{said}");
        (self.reboot)();
        self.assert_down();
        for _twice in 0..2 {
            let said = self.call("enable").expect_success();
            assert_eq!(said, "embedded enabled: it is started at boot");
        }
        (self.reboot)();
        self.assert_runs();
    }

    fn is_updated(&self) {
        let install = || call(self.machine, &format!("{NEW_CALL} install")).expect_success();
        assert_eq!(install(), format!("embedded updated: {}", self.file));
        assert!(
            self.sh(&format!("cat {}", self.file))
                .contains("--note new")
        );
        assert!(install().contains("already installed"));
        self.assert_runs();
    }

    fn administrators_change_is_kept(&self) {
        let file = self.file;
        let pid = self.assert_runs();
        self.sh(&format!("cp -p {file} /tmp/kept && echo '# mine' >>{file}"));
        for command in ["install", "install --now", "install --dry-run", "uninstall"] {
            let refused = self.call(command);
            assert_eq!(refused.status, 1, "{command}: {refused}");
            assert!(refused.stderr.contains(file), "{refused}");
            assert!(refused.stderr.contains("it was changed"), "{refused}");
        }
        assert!(self.sh(&format!("tail -n 1 {file}")) == "# mine");
        assert_eq!(self.assert_runs(), pid);
        self.sh(&format!("cp -p /tmp/kept {file}"));
    }

    fn an_ordinary_user_is_refused(&self) {
        for command in ["install", "uninstall", "disable"] {
            let line = format!("setpriv --reuid=65534 --clear-groups {CALL} {command}");
            let refused = call(self.machine, &line);
            assert_eq!(refused.status, 1, "{command}: {refused}");
            let text = "Permission denied (os error 13): only root can do this";
            assert!(refused.stderr.contains(text), "{command}: {refused}");
            let named = refused.stderr.split(": ").nth(2).expect("a path");
            assert!(self.file.starts_with(named), "{command}: {refused}");
        }
        let line = format!("setpriv --reuid=65534 --clear-groups {CALL} install --dry-run");
        let said = call(self.machine, &line).expect_success();
        assert!(said.contains(self.file), "{said}");
        self.assert_runs();
    }

    /// Even where its configuration is broken.
    fn is_uninstalled(&self, before: &str) {
        self.sh("echo broken >/etc/embedded");
        let said = self.call("uninstall").expect_success();
        assert_eq!(said, format!("embedded uninstalled: {}", self.file));
        self.assert_down();
        self.sh("echo note=hello >/etc/embedded");
        assert_same(self.machine, before);
        let said = self.call("uninstall").expect_success();
        assert_eq!(said, "embedded is not installed");
    }

    fn is_installed_without_a_start(&self, before: &str) {
        let said = self.call("install").expect_success();
        assert_eq!(said, format!("embedded installed: {}", self.file));
        self.assert_down();
        self.call("uninstall").expect_success();
        assert_same(self.machine, before);
        self.call("install").expect_success();
        (self.reboot)();
        self.assert_runs();
        self.call("uninstall").expect_success();
        self.assert_down();
        assert_same(self.machine, before);
    }

    fn a_broken_configuration_is_not_installed(&self, before: &str) {
        self.sh("echo broken >/etc/embedded");
        let refused = self.call("install --now");
        assert_eq!(refused.status, 78, "{refused}");
        self.sh("echo note=hello >/etc/embedded");
        assert_same(self.machine, before);
        self.assert_down();
    }
}

#[test]
fn systemd_gets_a_unit() {
    require!(machine(), tool("systemd-analyze"));
    under_systemd(&Systemd::boot(root()));
}

#[test]
fn systemd_of_debian_13_gets_a_unit() {
    require!(
        machine(),
        that(
            Root::debian("trixie").is_some(),
            "needs Debian trixie, unpacked by tests/setup"
        )
    );
    let root = Root::debian("trixie").expect("just seen");
    under_systemd(&Systemd::boot(with_service(root)));
}

fn under_systemd(machine: &Systemd) {
    Under {
        machine,
        file: "/etc/systemd/system/embedded.service",
        pid: &|| machine.main_pid("embedded"),
        reboot: &|| {
            let units = "embedded.service multi-user.target";
            let script = format!("systemctl stop {units} && systemctl start multi-user.target");
            machine.sh(&script).expect_success();
        },
    }
    .show();
}

#[test]
fn openrc_gets_a_script() {
    require!(machine(), tool("openrc-init"));
    under_openrc(&OpenRc::boot(root()));
}

#[test]
fn openrc_of_debian_testing_gets_a_script() {
    require!(
        machine(),
        that(
            Root::debian("forky").is_some(),
            "needs Debian forky, unpacked by tests/setup"
        )
    );
    let root = Root::debian("forky").expect("just seen");
    under_openrc(&OpenRc::boot(with_service(root)));
}

fn under_openrc(machine: &OpenRc) {
    Under {
        machine,
        file: "/etc/init.d/embedded",
        pid: &|| child_of(machine, "supervise-daemo"),
        reboot: &|| {
            // As at a boot it is to look at the scripts again.
            let script = "rc-service --ifstarted embedded stop && rc-update -u && openrc boot && openrc default";
            machine.sh(script).expect_success();
        },
    }
    .show();
}

/// A machine in which a supervisor runs that can end and begin again.
fn boot_beside(root: Root, begin: &str) -> Machine {
    let machine = Machine::boot(root);
    call(&machine, begin).expect_success();
    machine
}

#[test]
fn runit_gets_a_service_directory() {
    require!(machine(), tool("runsvdir"));
    let begin = "{ setsid runsvdir /etc/service >/dev/null 2>&1 & }";
    let machine = &boot_beside(root().empty("/etc/service").empty("/etc/sv"), begin);
    let status = || machine.sh("sv status /etc/service/embedded").stdout;
    Under {
        machine,
        file: "/etc/sv/embedded/run",
        // run: /etc/service/x: (pid 7) 3s
        pid: &|| between(&status(), "run: /etc/service/embedded: (pid ", ")"),
        reboot: &|| {
            let [runsvdir] = machine.pids("runsvdir")[..] else {
                panic!("one runsvdir");
            };
            machine
                .sh(&format!("kill -HUP {runsvdir}"))
                .expect_success();
            wait_until_ended(machine, &["runsvdir", "runsv", "embedded"]);
            machine.sh(begin).expect_success();
            wait_until("a supervisor", || {
                (machine.pids("runsv").len() == 1).then_some(())
            });
        },
    }
    .show();
}

#[test]
fn s6_gets_a_service_directory() {
    require!(machine(), tool("s6-svscan"));
    let begin = "setsid s6-svscan /etc/scan >/dev/null 2>&1 &
        until s6-svscanctl -a /etc/scan 2>/dev/null; do :; done";
    let machine = &boot_beside(root().empty("/etc/scan").empty("/etc/s6/sv"), begin);
    let status = || machine.sh("s6-svstat -o pid /etc/scan/embedded").stdout;
    Under {
        machine,
        file: "/etc/s6/sv/embedded/run",
        pid: &|| status().trim().parse().ok(),
        reboot: &|| {
            machine.sh("s6-svscanctl -t /etc/scan").expect_success();
            wait_until_ended(machine, &["s6-svscan", "s6-supervise", "embedded"]);
            machine.sh(begin).expect_success();
            wait_until("a supervisor", || {
                machine
                    .sh("s6-svok /etc/scan/embedded")
                    .success()
                    .then_some(())
            });
        },
    }
    .show();
}

#[test]
fn s6_rc_gets_a_source() {
    require!(machine(), tool("s6-svscan"), tool("s6-rc-compile"));
    let begin = "rm -rf /run/service /run/s6-rc* && mkdir /run/service && { setsid s6-svscan /run/service >/dev/null 2>&1 & } &&
        until s6-svscanctl -a /run/service 2>/dev/null; do :; done &&
        s6-rc-init -c /etc/s6-rc/compiled /run/service && s6-rc -up change default";
    let compile = "mkdir /etc/s6-rc/source/default/contents.d && s6-rc-compile /etc/s6-rc/first /etc/s6-rc/source && ln -s first /etc/s6-rc/compiled";
    let root = root()
        .empty("/etc/s6-rc")
        .text("/etc/s6-rc/source/default/type", "bundle\n");
    let machine = &boot_beside(root, &format!("{compile} && {begin}"));
    Under {
        machine,
        file: "/etc/s6-rc/source/embedded/run",
        pid: &|| child_of(machine, "s6-supervise"),
        reboot: &|| {
            machine
                .sh("s6-rc -da change && s6-svscanctl -t /run/service")
                .expect_success();
            wait_until_ended(machine, &["s6-svscan", "s6-supervise", "embedded"]);
            call(machine, begin).expect_success();
        },
    }
    .show();
    let left = machine.sh("ls /etc/s6-rc | wc -l").expect_success();
    assert_eq!(
        left, "4",
        "source, compiled, the first database and the last"
    );
}

/// s6-rc-update fails also where it goes on with the new database, and another service does not start.
#[test]
fn the_database_that_s6_rc_has_is_not_removed() {
    require!(machine());
    let update = "#!/bin/sh\nln -sfn $1 /run/s6-rc/compiled\nexit 1\n";
    let machine = &Machine::boot(
        root()
            .empty("/etc/s6-rc")
            .empty("/run/s6-rc")
            .text("/etc/s6-rc/source/default/contents.d/another", "")
            .script("/usr/local/sbin/s6-rc-compile", "#!/bin/sh\nmkdir $1\n")
            .script("/usr/local/sbin/s6-rc-update", update),
    );
    machine
        .sh("mkdir /etc/s6-rc/first && ln -s first /etc/s6-rc/compiled")
        .expect_success();
    let installed = call(machine, &format!("{CALL} install s6-rc"));
    assert!(
        installed.status == 1 && installed.stderr.contains("s6-rc-update"),
        "{installed}"
    );
    machine
        .sh("test -d /run/s6-rc/compiled/ && test -d /etc/s6-rc/compiled/")
        .expect_success();
}

#[test]
fn supervisord_gets_a_program() {
    require!(machine(), tool("supervisord"));
    let configuration = "/etc/supervisor/supervisord.conf";
    let begin = &format!("supervisord -c {configuration}");
    let settings = "[unix_http_server]
file = /run/supervisor.sock
[supervisord]
user = root
logfile = /run/supervisord.log
pidfile = /run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix:///run/supervisor.sock
[include]
files = conf.d/*.conf
";
    let root = root()
        .empty("/etc/supervisor")
        .empty("/etc/supervisor/conf.d")
        .text(configuration, settings);
    let machine = &boot_beside(root, begin);
    Under {
        machine,
        file: "/etc/supervisor/conf.d/embedded.conf",
        pid: &|| child_of(machine, "supervisord"),
        reboot: &|| {
            let shutdown = format!("supervisorctl -c {configuration} shutdown");
            machine.sh(&shutdown).expect_success();
            wait_until_ended(machine, &["supervisord", "embedded"]);
            machine.sh(begin).expect_success();
        },
    }
    .show();
}

#[test]
fn dinit_gets_a_description() {
    require!(
        machine(),
        that(
            Dinit::is_there(),
            "needs dinit, which Debian has no package of"
        )
    );
    let begin =
        "setsid dinit --system >/dev/null 2>&1 & until dinitctl is-started boot; do :; done";
    let root = Dinit::root(root())
        .text(
            "/etc/dinit.d/boot",
            "type = internal\nwaits-for.d: boot.d\n",
        )
        .empty("/etc/dinit.d/boot.d");
    let machine = &boot_beside(root, begin);
    Under {
        machine,
        file: "/etc/dinit.d/embedded",
        pid: &|| child_of(machine, "dinit"),
        reboot: &|| {
            machine.sh("dinitctl shutdown").expect_success();
            wait_until_ended(machine, &["dinit", "embedded"]);
            machine.sh(begin).expect_success();
        },
    }
    .show();
    let list = machine.sh("dinitctl list").expect_success();
    assert!(!list.contains("embedded"), "{list}");
}

#[test]
fn system_v_gets_a_script() {
    require!(machine(), tool("update-rc.d"));
    under_system_v(&boot_system_v());
}

#[test]
fn system_v_gets_a_script_by_insserv_alone() {
    require!(machine(), tool("insserv"));
    let machine = boot_system_v();
    // In the machine. Its scripts are not all that insserv wants to order them.
    let remove = "rm -rf /usr/sbin/update-rc.d /etc/init.d/* /etc/rc?.d/*";
    call(&machine, remove).expect_success();
    under_system_v(&machine);
}

/// What is known of its init is the name.
fn boot_system_v() -> Machine {
    let init = ["/opt/init", "-c", PLAIN_INIT];
    Machine::boot_with(root().copy("/opt/init", "/bin/bash"), init)
}

fn under_system_v(machine: &Machine) {
    Under {
        machine,
        file: "/etc/init.d/embedded",
        pid: &|| fs::read_to_string(machine.path("/run/embedded.pid")).ok()?.trim().parse().ok(),
        reboot: &|| {
            // As /etc/init.d/rc does.
            let script = "/etc/init.d/embedded stop; for start in /etc/rc2.d/S*embedded; do test ! -x $start || $start start; done";
            machine.sh(script).expect_success();
        },
    }
    .show();
}

/// A user's manager, where a login has it.
const USER_MANAGER: &str = "[Service]
Type=notify
User=daemon
Delegate=yes
RuntimeDirectory=user/1
Environment=XDG_RUNTIME_DIR=/run/user/1 HOME=/var/home
ExecStart=/lib/systemd/systemd --user
";

#[test]
fn systemd_of_a_user_gets_a_unit() {
    require!(machine(), tool("systemd-analyze"), tool("setpriv"));
    let units = "/etc/systemd/system/login.service";
    let root = root().empty("/var/home").text(units, USER_MANAGER);
    let machine = Systemd::boot(root);
    machine.sh("chown daemon /var/home").expect_success();
    machine.systemctl(["start", "login"]).expect_success();
    let before = listing(&machine);
    let run = |command: &str| {
        let service = "embedded --usual --config /etc/embedded";
        let line = format!(
            "setpriv --reuid=daemon --regid=daemon --clear-groups env HOME=/var/home XDG_RUNTIME_DIR=/run/user/1 {service} {command}"
        );
        call(&machine, &line)
    };
    let runs = || child_of(&machine, "systemd");
    let reboot = || {
        machine.systemctl(["restart", "login"]).expect_success();
    };
    let file = "/var/home/.config/systemd/user/embedded.service";

    let refused = run("install --now");
    assert!(refused.stderr.contains("only root can"), "{refused}");
    let said = run("install --user --now").expect_success();
    let pid = runs().expect("it runs");
    assert_eq!(
        said,
        format!("embedded installed: {file}; started: pid {pid}")
    );
    let said = run("install --user").expect_success();
    assert!(said.contains("is already installed"), "{said}");
    reboot();
    wait_until("its start at the next login", runs);
    run("disable --user").expect_success();
    reboot();
    assert_eq!(runs(), None);
    run("enable --user").expect_success();
    reboot();
    wait_until("its start at the next login", runs);
    assert_same(&machine, &before);
    run("uninstall --user").expect_success();
    assert_eq!(runs(), None);
    let left = machine.sh("find /var/home -type f -o -type l");
    assert_eq!(left.expect_success(), "");
    let said = run("uninstall --user").expect_success();
    assert_eq!(said, "embedded is not installed");
}

#[test]
fn a_socket_is_installed_with_its_unit() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root());
    let before = listing(&machine);
    let run = |command: &str| call(&machine, &format!("{CALL} {command}")).expect_success();
    run("install --now --listen 127.0.0.1:80");
    assert!(machine.connect("127.0.0.1:80").is_ok(), "systemd listens");
    for unit in ["embedded.service", "embedded.socket"] {
        machine.systemctl(["is-enabled", unit]).expect_success();
    }
    // The administrator's change to the second file counts, too.
    let socket = "/etc/systemd/system/embedded.socket";
    machine
        .sh(&format!("cp {socket} /tmp && echo '# mine' >>{socket}"))
        .expect_success();
    let refused = call(&machine, &format!("{CALL} uninstall"));
    assert_eq!(refused.status, 1, "{refused}");
    machine
        .sh(&format!("cp /tmp/embedded.socket {socket}"))
        .expect_success();
    run("uninstall");
    assert_forgotten(&machine);
    assert_same(&machine, &before);
}

#[test]
fn a_socket_comes_and_goes_with_an_update() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root());
    let before = listing(&machine);
    let run = |command: &str| call(&machine, &format!("{CALL} {command}")).expect_success();
    let updated = |command: &str| {
        let said = run(command);
        assert!(said.starts_with("embedded updated: "), "{said}");
    };
    run("install --now");
    let pid = machine.main_pid("embedded");
    updated("install --listen 127.0.0.1:80");
    machine
        .systemctl(["is-enabled", "embedded.socket"])
        .expect_success();
    machine.systemctl(["restart", "embedded"]).expect_success();
    assert!(machine.connect("127.0.0.1:80").is_ok(), "systemd listens");
    assert_ne!(machine.main_pid("embedded"), pid);

    let pid = machine.main_pid("embedded");
    updated("install");
    assert_eq!(machine.show("embedded.socket", "ActiveState"), "inactive");
    assert_eq!(machine.main_pid("embedded"), pid, "it goes on");
    run("disable");
    updated("install --listen 127.0.0.1:80");
    assert!(
        !machine
            .systemctl(["is-enabled", "embedded.socket"])
            .success()
    );
    run("uninstall");
    assert_forgotten(&machine);
    assert_same(&machine, &before);
}

#[test]
fn a_packages_unit_is_not_hidden() {
    require!(machine(), tool("systemd-analyze"));
    let unit = "/usr/lib/systemd/system/embedded.service";
    let machine = Systemd::boot(root().text(unit, "[Service]\nExecStart=/usr/bin/embedded run\n"));
    let before = listing(&machine);
    let refused = call(&machine, &format!("{CALL} install"));
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains(unit), "{refused}");
    assert_same(&machine, &before);
}

#[test]
fn what_cannot_be_started_stays_installed() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root());
    let failing = "embedded --pidfile /dev/null/embedded.pid";
    let failed = call(&machine, &format!("{failing} install --now"));
    assert_eq!(failed.status, 1, "{failed}");
    assert!(
        failed.stdout.starts_with("embedded installed: "),
        "{failed}"
    );
    let words = "embedded: cannot start: `systemctl start embedded.service`";
    assert!(failed.stderr.starts_with(words), "{failed}");
    machine
        .systemctl(["is-enabled", "embedded"])
        .expect_success();
    call(&machine, &format!("{failing} uninstall")).expect_success();
    assert_forgotten(&machine);
}

/// systemd opens it before the service could make the directory.
#[test]
fn a_log_in_a_directory_that_is_not_there_is_installed() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root().copy("/usr/bin/ctl", bin("ctl")));
    let command = "CTL='pidfile=/run/ctl.pid stderr=/var/log/none/ctl.log' ctl";
    let check = machine.sh(&format!("{command} check"));
    assert_eq!(check.status, 78, "{check}");
    machine
        .sh("echo 'CTL=pidfile=/run/ctl.pid' >/etc/default/ctl")
        .expect_success();
    machine
        .sh(&format!("{command} install --now"))
        .expect_success();
    machine.sh(&format!("{command} uninstall")).expect_success();
}

/// Here it makes the log and says why it fails.
#[test]
fn the_last_words_of_a_service_that_fails_at_once_are_said() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root().copy("/usr/bin/ctl", bin("ctl")));
    let settings = "pidfile=/run/ctl.pid fail= stderr=/var/log/ctl.log";
    machine
        .sh(&format!("echo 'CTL={settings}' >/etc/default/ctl"))
        .expect_success();
    let failed = machine.sh(&format!("CTL='{settings}' ctl install --now"));
    assert_eq!(failed.status, 1, "{failed}");
    assert!(failed.stdout.starts_with("ctl installed: "), "{failed}");
    for words in [
        "cannot start: `systemctl start",
        "the last line of its log (/var/log/ctl.log): ",
        "as it was told to",
    ] {
        assert!(failed.stderr.contains(words), "{failed}");
    }
}

#[test]
fn a_unit_that_failed_is_forgotten() {
    require!(machine(), tool("systemd-analyze"));
    let machine = Systemd::boot(root());
    call(&machine, &format!("{CALL} install")).expect_success();
    machine.sh("echo broken >/etc/embedded").expect_success();
    assert!(!machine.systemctl(["start", "embedded"]).success());
    assert_eq!(machine.show("embedded", "ActiveState"), "failed");
    call(&machine, &format!("{CALL} uninstall")).expect_success();
    assert_forgotten(&machine);
}

/// systemd has no unit left of which there is no file.
#[track_caller]
fn assert_forgotten(machine: &Systemd) {
    let units = machine.systemctl(["list-units", "--all", "embedded*"]);
    let units = units.expect_success();
    assert!(!units.contains("embedded"), "{units}");
}

#[test]
fn what_was_started_by_hand_is_not_started_once_more() {
    require!(machine(), tool("s6-svscan"));
    let machine = S6::boot(root().empty("/run/service").empty("/etc/s6/sv"));
    let before = listing(&machine);
    call(&machine, &format!("{CALL} start")).expect_success();
    let refused = call(&machine, &format!("{CALL} install --now"));
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("stop it first"), "{refused}");
    assert_same(&machine, &before);

    call(&machine, &format!("{CALL} stop")).expect_success();
    let said = call(&machine, &format!("{CALL} install --now")).expect_success();
    let note = "/run/service/embedded is not there after a boot";
    assert!(
        said.contains(note) && said.contains("started: pid "),
        "{said}"
    );

    // Beside the manager, which has it down.
    call(&machine, &format!("{CALL} stop")).expect_success();
    call(&machine, &format!("{CALL} start")).expect_success();
    let said = call(&machine, &format!("{CALL} uninstall")).expect_success();
    assert!(said.contains("which no manager runs, goes on"), "{said}");
    call(&machine, &format!("{CALL} stop")).expect_success();
}

#[test]
fn a_failed_installation_is_undone() {
    require!(machine(), tool("update-rc.d"));
    let failing = "#!/bin/sh\necho 'no runlevels' >&2\nexit 1\n";
    let machine = Machine::boot(root().script("/usr/sbin/update-rc.d", failing));
    let before = listing(&machine);
    let failed = call(&machine, &format!("{CALL} install --now sysv"));
    assert_eq!(failed.status, 1, "{failed}");
    assert!(failed.stderr.contains("no runlevels"), "{failed}");
    assert!(machine.pids("embedded").is_empty());
    assert_same(&machine, &before);
}

#[test]
fn where_no_manager_runs_one_has_to_be_named() {
    require!(machine());
    let machine = Machine::boot(root());
    let before = listing(&machine);
    for command in ["install", "uninstall", "enable", "disable"] {
        let refused = call(&machine, &format!("{CALL} {command}"));
        assert_eq!(refused.status, 1, "{refused}");
        assert!(refused.stderr.contains("name one"), "{refused}");
    }
    let refused = call(&machine, &format!("{CALL} install runit"));
    assert!(
        refused.stderr.contains("runsvdir does not run"),
        "{refused}"
    );
    for what in ["launchd", "logrotate"] {
        let refused = call(&machine, &format!("{CALL} install {what}"));
        assert_eq!(refused.status, 2, "{refused}");
        assert!(refused.stderr.contains("systemd, openrc"), "{refused}");
    }
    assert_same(&machine, &before);
}

/// The number between two texts.
fn between(text: &str, before: &str, after: &str) -> Option<u32> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after)?.0.parse().ok()
}

/// The process of the service that is the child of one with this name.
fn child_of(machine: &Machine, name: &str) -> Option<u32> {
    let parents = machine.pids(name);
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(machine.path(format!("/proc/{pid}/status")));
        let parent = between(&status.unwrap_or_default(), "\nPPid:\t", "\n");
        parent.is_some_and(|parent| parents.contains(&parent))
    };
    machine.pids("embedded").into_iter().find(is_child)
}

fn wait_until_ended(machine: &Machine, names: &[&str]) {
    wait_until("the end", || {
        let ended = names.iter().all(|name| machine.pids(name).is_empty());
        ended.then_some(())
    });
}
