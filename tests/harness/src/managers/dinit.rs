//! dinit as PID 1, as in containers.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::PathBuf;

use super::{Machine, Ran, Root, wait_until};

/// A machine under dinit. Services go to `/etc/dinit.d/NAME`; none is started at boot.
#[derive(Debug)]
pub struct Dinit {
    machine: Machine,
}

impl Dinit {
    /// Whether someone has installed dinit: Debian has no package of it.
    pub fn is_there() -> bool {
        installed("dinit").is_some() && installed("dinitctl").is_some()
    }

    /// A root with dinit, and no service but `boot`.
    pub fn root(root: Root) -> Root {
        let [dinit, dinitctl] =
            ["dinit", "dinitctl"].map(|name| installed(name).expect("dinit is installed"));
        root.empty("/etc/dinit.d")
            .text("/etc/dinit.d/boot", "type = internal\n")
            .copy("/usr/local/sbin/dinit", dinit)
            .copy("/usr/local/sbin/dinitctl", dinitctl)
    }

    /// Boots a machine under dinit, and returns when it answers.
    pub fn boot(root: Root) -> Self {
        let root = Self::root(root);
        // As PID 1 it would take itself for the init of a whole system, were it not told that this
        // is a container.
        let dinit = Self {
            machine: Machine::boot_with(root, ["dinit", "--container"]),
        };
        wait_until("dinit", || {
            dinit.ctl(["is-started", "boot"]).success().then_some(())
        });
        dinit
    }

    /// `dinitctl`: `start` waits for readiness and fails if there is none; `--no-wait start` does
    /// not.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command(["dinitctl"]);
        command.args(arguments);
        Ran::of(command)
    }

    /// `STOPPED`, `STARTING`, `STARTED`, `STOPPING`, without what dinit says in brackets.
    pub fn state(&self, service: &str) -> String {
        let state = self.line(service, "State: ").unwrap_or_default();
        state
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// The process that dinit started, by its id inside.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.line(service, "Process ID: ")?.parse().ok()
    }

    fn line(&self, service: &str, label: &str) -> Option<String> {
        let status = self.ctl(["status", service]).stdout;
        status
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(label).map(str::to_owned))
    }
}

impl Deref for Dinit {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    directories
        .map(|directory| PathBuf::from(directory).join(name))
        .into_iter()
        .find(|path| path.exists())
}
