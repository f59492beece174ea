//! Follows a start with ptrace(2), from system call to system call.
//!
//! strace counts the calls of each process apart and cannot tell the processes of a start apart.
//! This tracer knows them by the order in which they come to be.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::{fs, thread};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Launch, Running, Scene};

/// A process that stands still at one of its system calls.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// It is about to make it.
    Enter(Pid),
    /// It has made it.
    Leave(Pid),
}

/// The processes of a start, as far as they have come to be.
#[derive(Debug)]
pub struct Family {
    /// The starter first.
    processes: Vec<Pid>,
    /// An instance that was there before.
    old: Option<Pid>,
    threads_of_old: Vec<Pid>,
    /// Those that have told that they have forked.
    forkers: Vec<Pid>,
    /// The starter executes its program.
    pub has_executed: bool,
    /// It has forked: it has told so, or its child is there.
    pub has_forked: bool,
}

impl Family {
    /// Returns the place of a process in the order in which they came to be: 0 is the starter.
    pub fn place(&self, pid: Pid) -> Option<usize> {
        self.processes.iter().position(|known| *known == pid)
    }

    /// Whether the process at this place has forked: it has told so, or the next one is there.
    pub fn forked_at(&self, place: usize) -> bool {
        let told = |pid| self.forkers.contains(pid);
        self.processes.len() > place + 1 || self.processes.get(place).is_some_and(told)
    }

    /// Whether this is a thread of the instance that was there before.
    pub fn is_old(&self, pid: Pid) -> bool {
        self.threads_of_old.contains(&pid)
    }

    fn meet(&mut self, pid: Pid) {
        if self.place(pid).is_some() || self.is_old(pid) {
            return;
        }
        let thread = |of: Pid| fs::exists(format!("/proc/{of}/task/{pid}")).unwrap_or(false);
        if self.old.is_some_and(thread) {
            self.threads_of_old.push(pid);
        } else {
            self.processes.push(pid);
            self.has_forked = true;
        }
    }
}

/// Starts a service, and has `look` see each system call of its processes, and of the threads of an
/// instance that was there before, until it breaks off or the starter has ended. Then all of them
/// go on untraced.
pub fn follow<'s>(
    scene: &'s Scene,
    launch: Launch<'s>,
    old: Option<Pid>,
    mut look: impl FnMut(&Family, Stop) -> ControlFlow<()> + Send,
) -> Running<'s> {
    let mut gate = scene.gate("gate");
    let running = launch.behind(&gate).spawn();
    let starter = Pid::from_raw(running.pid());
    // The processes that a thread traces go on, untraced, when the thread ends.
    thread::scope(|scope| {
        let traced = scope.spawn(move || {
            let options = Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK;
            seize(starter, options);
            if let Some(old) = old {
                seize_threads(old);
            }
            gate.open();
            let family = Family {
                processes: vec![starter],
                old,
                threads_of_old: Vec::new(),
                forkers: Vec::new(),
                has_executed: false,
                has_forked: false,
            };
            watch(family, &mut look);
        });
        traced.join().expect("a tracer");
    });
    running
}

/// Has this thread trace a process, or a thread, from now on.
fn seize(pid: Pid, options: Options) {
    let options = options | Options::PTRACE_O_TRACESYSGOOD;
    ptrace::seize(pid, options)
        .and_then(|()| ptrace::interrupt(pid))
        .expect("tracing");
}

/// The same for each thread of a process that is there already, and for those which it starts.
fn seize_threads(process: Pid) {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    for thread in threads.flatten() {
        let number = thread
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        seize(
            Pid::from_raw(number.expect("a number")),
            Options::PTRACE_O_TRACECLONE,
        );
    }
}

fn watch(mut family: Family, look: &mut impl FnMut(&Family, Stop) -> ControlFlow<()>) {
    let starter = family.processes[0];
    let mut inside = HashMap::<Pid, bool>::new();
    loop {
        // Only what this thread traces, not what other threads have started.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => continue,
            status => status.expect("a traced process"),
        };
        let pid = status.pid().expect("of a process");
        family.meet(pid);
        let mut passed_on = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) if pid == starter => return,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceEvent(_, _, event) if event == Event::PTRACE_EVENT_EXEC as i32 => {
                family.has_executed = true;
                inside.insert(pid, true);
            }
            WaitStatus::PtraceEvent(_, _, event)
                if event == Event::PTRACE_EVENT_FORK as i32
                    || event == Event::PTRACE_EVENT_VFORK as i32 =>
            {
                family.has_forked = true;
                family.forkers.push(pid);
            }
            WaitStatus::PtraceSyscall(_) => {
                let inside = inside.entry(pid).or_default();
                *inside = !*inside;
                let stop = if *inside {
                    Stop::Enter(pid)
                } else {
                    Stop::Leave(pid)
                };
                if look(&family, stop).is_break() {
                    return;
                }
            }
            WaitStatus::Stopped(_, signal) => passed_on = Some(signal),
            _ => {}
        }
        match ptrace::syscall(pid, passed_on) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("tracing {pid}: {error}"),
        }
    }
}
