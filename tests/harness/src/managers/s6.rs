//! s6: `s6-svscan` as PID 1.

use std::fs;
use std::ops::Deref;

use super::{Machine, Ran, Root, wait_until};

const SERVICES: &str = "/run/service";

/// A machine under s6. Service directories go to `/run/service`: a script `run`, a text
/// `notification-fd`.
#[derive(Debug)]
pub struct S6 {
    machine: Machine,
}

impl S6 {
    /// Boots a machine under s6, and returns when s6-svscan(8) can be controlled and each service has
    /// its supervisor.
    ///
    /// A service with a file `down` waits for [`S6::svc`].
    pub fn boot(root: Root) -> Self {
        let machine = Machine::boot_with(root, ["s6-svscan", SERVICES]);
        wait_until("s6-svscan's FIFO", || {
            machine
                .path(SERVICES)
                .join(".s6-svscan/control")
                .exists()
                .then_some(())
        });
        wait_until("the supervisors", || supervised(&machine, SERVICES));
        Self { machine }
    }

    /// `s6-svc OPTION SERVICE`: `-u` up, `-d` down, `-r` restart, `-h` HUP …
    pub fn svc(&self, option: &str, service: &str) -> Ran {
        self.run(["s6-svc", option, &directory(service)])
    }

    /// What s6 says of a field: `up`, `ready`, `wantedup`, `pid`, `exitcode`, `signal`.
    pub fn field(&self, service: &str, field: &str) -> String {
        self.run(["s6-svstat", "-o", field, &directory(service)])
            .expect_success()
    }

    /// Whether s6 sees the service ready.
    pub fn is_ready(&self, service: &str) -> bool {
        self.field(service, "ready") == "true"
    }

    /// The process that s6 started, by its id inside.
    pub fn pid(&self, service: &str) -> Option<u32> {
        self.field(service, "pid").parse().ok()
    }

    /// `s6-svwait`: `-u` up, `-U` ready, `-d` down, `-D` really down; fails after so many
    /// milliseconds.
    pub fn wait(&self, option: &str, service: &str, milliseconds: u32) -> Ran {
        self.run([
            "s6-svwait",
            option,
            "-t",
            &milliseconds.to_string(),
            &directory(service),
        ])
    }
}

/// Whether each service directory that the machine was booted with has a supervisor: they all keep
/// their state there.
pub(super) fn supervised(machine: &Machine, services: &str) -> Option<()> {
    let mut directories = fs::read_dir(machine.path(services)).ok()?.flatten();
    directories
        .all(|entry| {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            hidden || entry.path().join("supervise/status").exists()
        })
        .then_some(())
}

fn directory(service: &str) -> String {
    format!("{SERVICES}/{service}")
}

impl Deref for S6 {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
