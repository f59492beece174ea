//! OpenRC: `openrc-init` as PID 1.

use std::ops::Deref;

use super::{Machine, Ran, Root, wait_until};

/// A machine under OpenRC. Service scripts go to `/etc/init.d`; no runlevel has any.
#[derive(Debug)]
pub struct OpenRc {
    machine: Machine,
}

impl OpenRc {
    /// Boots a machine under OpenRC, and returns when it has reached its default runlevel.
    pub fn boot(root: Root) -> Self {
        let mut root = root.empty("/etc/init.d");
        for level in ["sysinit", "boot", "default", "shutdown"] {
            root = root.empty(format!("/etc/runlevels/{level}"));
        }
        let machine = Machine::boot_with(root, ["openrc-init"]);
        wait_until("the default runlevel", || {
            (machine.run(["rc-status", "--runlevel"]).stdout.trim() == "default").then_some(())
        });
        wait_until("the end of the boot", || {
            machine.pids("openrc").is_empty().then_some(())
        });
        Self { machine }
    }

    /// `rc-service SERVICE COMMAND`: `start`, `stop`, `restart`, `status` (0 started, 3 stopped, 32
    /// crashed).
    pub fn rc_service(&self, service: &str, command: &str) -> Ran {
        self.run(["rc-service", service, command])
    }

    /// The process that `supervise-daemon` started, by its id inside.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.value(service, "child_pid")?.parse().ok()
    }

    /// Something that OpenRC keeps about a service: `child_pid`, `pidfile`, `start_count` …
    pub fn value(&self, service: &str, key: &str) -> Option<String> {
        std::fs::read_to_string(self.path(format!("/run/openrc/options/{service}/{key}"))).ok()
    }
}

impl Deref for OpenRc {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
