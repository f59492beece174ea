//! runit: `runsvdir` as PID 1, as in containers.

use std::ops::Deref;

use super::s6::supervised;
use super::{Machine, Ran, Root, wait_until};

const SERVICES: &str = "/etc/service";

/// A machine under runit. Service directories go to `/etc/service`: a script `run`, perhaps a
/// script `check`.
#[derive(Debug)]
pub struct Runit {
    machine: Machine,
}

impl Runit {
    /// Boots a machine under runit, and returns when each service has its supervisor.
    pub fn boot(root: Root) -> Self {
        let machine = Machine::boot_with(root.empty(SERVICES), ["runsvdir", SERVICES]);
        wait_until("the supervisors", || supervised(&machine, SERVICES));
        Self { machine }
    }

    /// `sv -w SECONDS COMMAND SERVICE`: `start` and `check` wait for the service's script `check`,
    /// `status` tells.
    pub fn sv(&self, seconds: u32, command: &str, service: &str) -> Ran {
        self.run([
            "sv",
            "-w",
            &seconds.to_string(),
            command,
            &format!("{SERVICES}/{service}"),
        ])
    }

    /// The process that runit started, by its id inside.
    pub fn pid(&self, service: &str) -> Option<u32> {
        let status = self.sv(5, "status", service).stdout; // run: /etc/service/x: (pid 7) 3s
        let (_, rest) = status.strip_prefix("run: ")?.split_once("(pid ")?;
        rest.split_once(')')?.0.parse().ok()
    }
}

impl Deref for Runit {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
