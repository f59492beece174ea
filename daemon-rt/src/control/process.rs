//! Processes as /proc shows them.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::unistd::{Pid, geteuid, getpid};

use crate::sys::proc::{self, Field};

#[derive(Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) session: Pid,
    /// In ticks since boot.
    pub(crate) started: u64,
}

impl Process {
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        if !proc::is_ours() {
            return None;
        }
        let (process, _) = Self::seen(pid)?;
        Some(process)
    }

    /// Returns all processes that can be seen and have not ended.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        if !proc::is_ours() {
            return all;
        }
        for pid in proc::pids() {
            match Self::seen(pid) {
                Some((_, 'Z' | 'X')) | None => {}
                Some((process, _)) => all.push(process),
            }
        }
        all
    }

    /// The process and its state.
    fn seen(pid: Pid) -> Option<(Self, char)> {
        let fields = [Field::State, Field::Parent, Field::Session, Field::Started];
        let [state, parent, session, started] = proc::fields(pid, fields)?;
        let process = Self {
            pid,
            parent: Pid::from_raw(parent.parse().ok()?),
            session: Pid::from_raw(session.parse().ok()?),
            started: started.parse().ok()?,
        };
        Some((process, state.chars().next()?))
    }

    /// Checks whether this is PID 1 of a pid namespace and runs the same program as its child: this
    /// library's PID 1.
    pub(crate) fn is_pid_1_of(self, child: Pid) -> bool {
        if proc::innermost(self.pid) != Some(Pid::from_raw(1)) {
            return false;
        }
        let program = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/exe"));
        match (program(self.pid), program(child)) {
            (Ok(own), Ok(childs)) => own == childs,
            _ => false,
        }
    }

    pub(crate) fn directory(self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.pid)).ok()
    }

    /// Checks whether it has started the process that asks, or one that has, and so on.
    pub(crate) fn has_started_this(self) -> bool {
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

/// Returns the control groups of a process, in the hierarchies that managers have.
pub(crate) fn groups_of(process: Pid) -> Vec<String> {
    let Some(text) = proc::text(&format!("/proc/{process}/cgroup")) else {
        return Vec::new();
    };
    let mut groups = Vec::new();
    for line in text.lines() {
        // 0::/system.slice/x.service, or before version 2 of control groups 1:name=systemd:/…
        if line.starts_with("0::") || line.contains(":name=") {
            groups.extend(line.splitn(3, ':').nth(2).map(str::to_owned));
        }
    }
    groups
}

/// Checks whether a process is in one of these control groups, or in one below. One without a name has
/// none.
pub(crate) fn is_in_group(process: Pid, groups: &[String]) -> bool {
    let is_below = |found: &String, group: &String| match found.strip_prefix(group.as_str()) {
        Some(rest) => !group.is_empty() && (rest.is_empty() || rest.starts_with('/')),
        None => false,
    };
    groups_of(process)
        .iter()
        .any(|found| groups.iter().any(|group| is_below(found, group)))
}

/// Finds the sessions of these that still have the processes that they had when `main` was started,
/// or some of them. Another session that has got a free number since has none that is as old.
pub(crate) fn still_there(sessions: Vec<Pid>, all: &[Process], main: &Process) -> Vec<Pid> {
    let mut there = sessions;
    there.retain(|session| {
        all.iter()
            .any(|process| process.session == *session && process.started < main.started)
    });
    there
}
