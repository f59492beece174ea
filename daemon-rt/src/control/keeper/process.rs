//! Processes between a service and its manager, as /proc shows them.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Pid, geteuid, getpid};

use crate::sys::proc::{self, Field};

#[derive(Clone, Copy)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) parent: Pid,
    pub(super) session: i32,
}

impl Process {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let parent = Pid::from_raw(proc::field(pid, Field::Parent)?.parse().ok()?);
        let session = proc::field(pid, Field::Session)?.parse().ok()?;
        Some(Self {
            pid,
            parent,
            session,
        })
    }

    /// Checks whether this is PID 1 of a pid namespace and runs the same program as its child: this
    /// library's PID 1.
    pub(super) fn is_pid_1_of(self, child: Pid) -> bool {
        if proc::innermost(self.pid) != Some(Pid::from_raw(1)) {
            return false;
        }
        let program = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/exe"));
        match (program(self.pid), program(child)) {
            (Ok(own), Ok(childs)) => own == childs,
            _ => false,
        }
    }

    pub(super) fn directory(self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.pid)).ok()
    }

    /// Checks whether it has started the process that asks, or one that has, and so on.
    pub(super) fn has_started_this(self) -> bool {
        let mut process = Self::of(getpid());
        while let Some(current) = process {
            if current.parent == self.pid {
                return true;
            }
            process = Self::of(current.parent);
        }
        false
    }
}

/// Checks whether a process belongs to root or to the caller.
pub(crate) fn is_trusted(process: Pid) -> bool {
    match std::fs::metadata(format!("/proc/{process}")) {
        Ok(process) => process.uid() == 0 || process.uid() == geteuid().as_raw(),
        Err(_) => false,
    }
}
