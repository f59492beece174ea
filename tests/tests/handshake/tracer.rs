//! Strikes one process of a start at one of its system calls.

use std::thread;

use daemon_harness::{Launch, Scene, Started};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
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
    let mut gate = scene.gate("gate");
    let running = launch.behind(&gate).spawn();
    let starter = Pid::from_raw(running.pid());
    let mut tracer = Tracer {
        target,
        nth,
        signal,
        processes: vec![starter],
        executed: false,
        calls: 0,
    };
    // Whom a thread traces goes on, untraced, when the thread ends.
    let watching = thread::spawn(move || {
        ptrace::seize(
            starter,
            Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACEFORK,
        )
        .and_then(|()| ptrace::interrupt(starter))
        .expect("tracing");
        gate.open();
        (tracer.watch(), tracer.processes.len() > 1)
    });
    let (struck, forked) = watching.join().expect("a tracer");
    Stricken {
        started: running.wait(),
        struck,
        forked,
    }
}

struct Tracer {
    target: Target,
    nth: usize,
    signal: Signal,
    /// The starter, the intermediate process and the daemon, as they come to be.
    processes: Vec<Pid>,
    executed: bool,
    calls: usize,
}

impl Tracer {
    /// Until the target is struck, or the starter has ended.
    fn watch(&mut self) -> bool {
        let starter = self.processes[0];
        loop {
            // Only what this thread traces, not what other threads have started.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Err(Errno::EINTR) => continue,
                status => status.expect("a traced process"),
            };
            let pid = status.pid().expect("of a process");
            self.meet(pid);
            let passed_on = match status {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) if pid == starter => {
                    return false;
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::PtraceEvent(_, _, event) => {
                    self.see(pid, event);
                    None
                }
                WaitStatus::PtraceSyscall(_) if self.is_target(pid) => {
                    self.calls += 1;
                    if self.calls == 2 * self.nth - 1 {
                        kill(pid, self.signal).expect("a stopped process");
                        return true;
                    }
                    None
                }
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            match ptrace::syscall(pid, passed_on) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("tracing {pid}: {error}"),
            }
        }
    }

    /// A new process may be heard of before its parent tells of the fork, or after.
    fn meet(&mut self, pid: Pid) {
        if !self.processes.contains(&pid) {
            self.processes.push(pid);
        }
    }

    fn see(&mut self, pid: Pid, event: i32) {
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            self.executed = true;
        } else if event == Event::PTRACE_EVENT_FORK as i32 {
            let child = ptrace::getevent(pid).expect("the child's pid");
            self.meet(Pid::from_raw(i32::try_from(child).expect("a pid")));
        }
    }

    fn is_target(&self, pid: Pid) -> bool {
        let (place, since) = match self.target {
            Target::Starter => (0, self.executed),
            Target::WaitingStarter => (0, self.processes.len() > 1),
            Target::Intermediate => (1, true),
            Target::Daemon => (2, true),
        };
        since && self.processes.get(place) == Some(&pid)
    }
}
