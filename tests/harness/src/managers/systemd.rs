//! systemd, with the journal, and with no unit but those of the test.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;

use super::{Machine, Ran, Root, wait_until};

const UNITS: &str = "/etc/systemd/system";
/// Where packages have theirs.
const UNITS_OF_PACKAGES: &str = "/usr/lib/systemd/system";

/// What units ask for by default, or say that they come after.
const TARGETS: [&str; 7] = [
    "sysinit",
    "basic",
    "sockets",
    "network",
    "network-online",
    "multi-user",
    "shutdown",
];

const BOOT_TARGET: &str = "[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
After=systemd-journald.service
";

const JOURNAL_SOCKET: &str = "[Unit]
DefaultDependencies=no
[Socket]
ListenDatagram=/run/systemd/journal/socket
ListenStream=/run/systemd/journal/stdout
SocketMode=0666
PassCredentials=yes
PassSecurity=yes
";

const SYSLOG_SOCKET: &str = "[Unit]
DefaultDependencies=no
[Socket]
Service=systemd-journald.service
ListenDatagram=/run/systemd/journal/dev-log
Symlinks=/dev/log
SocketMode=0666
PassCredentials=yes
PassSecurity=yes
";

const JOURNAL_SERVICE: &str = "[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket systemd-journald-dev-log.socket
After=systemd-journald.socket systemd-journald-dev-log.socket
[Service]
Sockets=systemd-journald.socket systemd-journald-dev-log.socket
Type=notify
ExecStart=/lib/systemd/systemd-journald
StandardOutput=null
FileDescriptorStoreMax=4096
";

/// Not the kernel's messages, nor its audit, which it would turn on for the machine outside.
const JOURNAL_SETTINGS: &str = "[Journal]
Storage=volatile
ReadKMsg=no
Audit=no
ForwardToWall=no
RateLimitIntervalSec=0
";

/// A machine under systemd. Units go to `/etc/systemd/system`, as text of its [`Root`]; none is
/// started at boot.
#[derive(Debug)]
pub struct Systemd {
    machine: Machine,
}

/// One line in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The severity, as in `<N>`: 3 is an error, 6 is information.
    pub priority: u8,
    /// The text.
    pub message: String,
    /// How it got there: `stdout` (what the service wrote), `journal`, `syslog`.
    pub transport: String,
}

impl Systemd {
    /// Boots a machine under systemd, and returns when it is up.
    ///
    /// `SYSTEMD_UNIT_PATH` hides all units but the test's; `container` keeps systemd from tuning
    /// the kernel.
    pub fn boot(root: Root) -> Self {
        let empty = "[Unit]\nDefaultDependencies=no\n";
        let mut root = root
            .empty(UNITS)
            .empty(UNITS_OF_PACKAGES)
            .text("/etc/systemd/journald.conf.d/tests.conf", JOURNAL_SETTINGS)
            .text(format!("{UNITS}/systemd-journald.socket"), JOURNAL_SOCKET)
            .text(
                format!("{UNITS}/systemd-journald-dev-log.socket"),
                SYSLOG_SOCKET,
            )
            .text(format!("{UNITS}/systemd-journald.service"), JOURNAL_SERVICE)
            .text(format!("{UNITS}/boot.target"), BOOT_TARGET);
        for target in TARGETS {
            root = root.text(format!("{UNITS}/{target}.target"), empty);
        }
        let init = [
            "env",
            "container=daemon-tests",
            &format!("SYSTEMD_UNIT_PATH={UNITS}:{UNITS_OF_PACKAGES}"),
            "SYSTEMD_GENERATOR_PATH=/nonexistent",
            "SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nonexistent",
            "/lib/systemd/systemd",
            "--system",
            "--unit=boot.target",
            "--log-target=journal",
            "--show-status=no",
        ];
        let systemd = Self {
            machine: Machine::boot_with(root, init),
        };
        wait_until("PID 1 to listen", || {
            systemd.path("/run/systemd/private").exists().then_some(())
        });
        let state = systemd.systemctl(["is-system-running", "--wait"]);
        assert!(state.success(), "{state}");
        systemd
            .systemctl(["is-active", "systemd-journald"])
            .expect_success();
        systemd
    }

    /// `systemctl`, without a pager.
    pub fn systemctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command(["systemctl", "--no-pager", "--full"]);
        command.args(arguments);
        Ran::of(command)
    }

    /// One property: `ActiveState`, `SubState`, `Result`, `NRestarts`, `ExecMainStatus` …
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.systemctl(["show", "--value", "-p", property, unit])
            .expect_success()
    }

    /// The main process, by its id inside.
    pub fn main_pid(&self, unit: &str) -> Option<u32> {
        self.show(unit, "MainPID")
            .parse()
            .ok()
            .filter(|pid| *pid != 0)
    }

    /// What the service said with `STATUS=`.
    pub fn status_text(&self, unit: &str) -> String {
        self.show(unit, "StatusText")
    }

    /// What `systemctl status` shows, whatever the state.
    pub fn status(&self, unit: &str) -> String {
        self.systemctl(["status", unit]).stdout
    }

    /// Waits until a property has this value.
    pub fn wait_for(&self, unit: &str, property: &str, value: &str) {
        wait_until(&format!("{unit} {property}={value}"), || {
            (self.show(unit, property) == value).then_some(())
        });
    }

    /// What the unit's processes have logged so far. (What systemd says of them is in
    /// [`Systemd::status`].)
    pub fn journal(&self, unit: &str) -> Vec<Entry> {
        self.run(["journalctl", "--sync"]).expect_success();
        let unit = if unit.contains('.') {
            unit.to_owned()
        } else {
            format!("{unit}.service")
        };
        let filter = format!("_SYSTEMD_UNIT={unit}");
        let export = self
            .run(["journalctl", "--quiet", "--output=export", &filter])
            .stdout;
        export.split("\n\n").filter_map(Entry::parse).collect()
    }

    /// The version: 252 on Debian 12, 257 on Debian 13.
    pub fn version(&self) -> u32 {
        let version = self
            .systemctl(["show", "--value", "-p", "Version"])
            .expect_success();
        let digits = version
            .split(|c: char| !c.is_ascii_digit())
            .find(|digits| !digits.is_empty());
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("a version")
    }

    /// Processes in a unit's control group, by their ids inside.
    pub fn processes(&self, unit: &str) -> Vec<u32> {
        let group = self.show(unit, "ControlGroup");
        if group.is_empty() {
            return Vec::new();
        }
        let ids = self
            .run(["cat", &format!("/sys/fs/cgroup{group}/cgroup.procs")])
            .stdout;
        ids.lines().filter_map(|id| id.parse().ok()).collect()
    }

    /// Writes or replaces a unit, and tells systemd.
    ///
    /// # Panics
    /// If that fails.
    pub fn rewrite(&self, unit: &str, text: &str) {
        fs::write(self.path(format!("{UNITS}/{unit}")), text).expect("units can be written");
        self.systemctl(["daemon-reload"]).expect_success();
    }
}

impl Entry {
    fn parse(export: &str) -> Option<Self> {
        let fields: HashMap<_, _> = export
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        Some(Self {
            priority: fields.get("PRIORITY")?.parse().ok()?,
            message: (*fields.get("MESSAGE")?).to_owned(),
            transport: (*fields.get("_TRANSPORT")?).to_owned(),
        })
    }
}

impl Deref for Systemd {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
