//! A container: the service itself is PID 1, or a shim that does nothing but run it.

use std::ops::Deref;

use super::{Machine, Root};

/// What is PID 1 of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// The service.
    None,
    /// `tini`, which is what `docker run --init` runs under the name `docker-init`.
    Tini,
    /// The same under that name.
    DockerInit,
    /// `dumb-init`.
    DumbInit,
    /// `sh -c`, which stays the parent.
    Shell,
}

/// A container. Its output is the [console](Machine::console), its end [`Machine::wait_for_end`].
#[derive(Debug)]
pub struct Pid1 {
    machine: Machine,
}

impl Pid1 {
    /// Starts a command in a container. It is about to run when this returns.
    pub fn boot<'a>(root: Root, shim: Shim, command: impl IntoIterator<Item = &'a str>) -> Self {
        let before: &[&str] = match shim {
            Shim::None => &[],
            Shim::Tini => &["tini", "--"],
            Shim::DockerInit => &["/run/docker-init", "--"],
            Shim::DumbInit => &["dumb-init", "--"],
            Shim::Shell => &["sh", "-c", r#""$@"; exit "$?""#, "sh"],
        };
        let root = if shim == Shim::DockerInit {
            root.copy("/run/docker-init", "/usr/bin/tini")
        } else {
            root
        };
        let command = before.iter().copied().chain(command);
        Self {
            machine: Machine::boot_with(root, command),
        }
    }
}

impl Deref for Pid1 {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
