//! Strikes one process of a start at one of its system calls.

use std::ops::ControlFlow;

use daemon_harness::trace::{Family, Stop, follow};
use daemon_harness::{Launch, Scene, Started};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whom to strike, from when on the calls are counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// The starter, from its execution.
    Starter,
    /// The starter, from its fork.
    WaitingStarter,
    /// The intermediate process, from its birth.
    Intermediate,
    /// The daemon, from its birth.
    Daemon,
}

impl Target {
    /// Whether this process is meant, and its calls count.
    fn is(self, family: &Family, pid: Pid) -> bool {
        let (place, since) = match self {
            Self::Starter => (0, family.has_executed),
            Self::WaitingStarter => (0, family.has_forked),
            Self::Intermediate => (1, true),
            Self::Daemon => (2, true),
        };
        since && family.place(pid) == Some(place)
    }
}

/// What came of a strike.
pub(crate) struct Stricken {
    pub(crate) started: Started,
    /// The target has come to that call before the starter had ended.
    pub(crate) struck: bool,
    /// The starter had forked by then.
    pub(crate) forked: bool,
}

/// Starts the service, and has this signal sent to the target before its `nth` system call.
pub(crate) fn strike(
    scene: &Scene,
    launch: Launch<'_>,
    target: Target,
    nth: usize,
    signal: Signal,
) -> Stricken {
    let (mut calls, mut struck, mut forked) = (0, false, false);
    let running = follow(scene, launch, None, |family, stop| {
        forked = family.has_forked;
        let Stop::Enter(pid) = stop else {
            return ControlFlow::Continue(());
        };
        if target.is(family, pid) {
            calls += 1;
            if calls == nth {
                kill(pid, signal).expect("a stopped process");
                struck = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    let started = running.wait();
    Stricken {
        started,
        struck,
        forked,
    }
}
