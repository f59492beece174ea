//! Strikes one system call of one process.
//!
//! strace's `inject=…:when=N` counts in each process apart and cannot tell them apart, so that a
//! fault meant for the daemon also meets the starter. This tracer knows the processes of a start,
//! and counts from the start of `main`. In a restart it also traces the threads of the old
//! instance.

use std::collections::HashMap;
use std::{fs, thread};

use daemon_harness::{Launch, Running, Scene};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::faults::{Fault, kind};
use crate::scenarios::Scenario;

/// What a process is to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    Starter,
    Intermediate,
    Daemon,
    /// The instance that hands over.
    Old,
}

pub(crate) const ROLES: [Role; 4] = [Role::Starter, Role::Intermediate, Role::Daemon, Role::Old];

/// A system call of a start: the `nth` of its number in this process.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) role: Role,
    pub(crate) number: i64,
    pub(crate) nth: usize,
    pub(crate) arguments: [u64; 6],
    /// As strace would show it, roughly.
    pub(crate) shown: String,
}

impl Call {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.role, self.number, self.nth) == (other.role, other.number, other.nth)
    }
}

/// What was seen of a start.
pub(crate) struct Seen {
    /// From the start of `main` to readiness; up to the struck one, if one was to be struck.
    pub(crate) calls: Vec<Call>,
    /// The call that was struck.
    pub(crate) struck: Option<Call>,
    /// The starter had forked before that.
    pub(crate) forked: bool,
}

/// Starts the service, and strikes this call if it comes.
pub(crate) fn run<'s>(
    scenario: Scenario,
    scene: &'s Scene,
    launch: Launch<'s>,
    old: Option<Pid>,
    strike: Option<(&Call, Fault)>,
) -> (Running<'s>, Seen) {
    let mut gate = scene.gate("gate");
    let running = launch.behind(&gate).spawn();
    let starter = Pid::from_raw(running.pid());
    // Whom a thread traces goes on, untraced, when the thread ends.
    let seen = thread::scope(|scope| {
        let traced = scope.spawn(move || {
            let options = Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACEFORK;
            seize(starter, options);
            if let Some(old) = old {
                seize_threads(old);
            }
            gate.open();
            let mut tracer = Tracer {
                scenario,
                strike,
                processes: vec![starter],
                old,
                old_threads: Vec::new(),
                forked: false,
                main: false,
                ready: false,
                inside: HashMap::new(),
                counts: HashMap::new(),
                failing: None,
                seen: Seen {
                    calls: Vec::new(),
                    struck: None,
                    forked: false,
                },
            };
            tracer.watch();
            tracer.seen
        });
        traced.join().expect("a tracer")
    });
    (running, seen)
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
    for thread in fs::read_dir(format!("/proc/{process}/task"))
        .expect("a process")
        .flatten()
    {
        let thread = thread
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .expect("a number");
        seize(Pid::from_raw(thread), Options::PTRACE_O_TRACECLONE);
    }
}

struct Tracer<'a> {
    scenario: Scenario,
    strike: Option<(&'a Call, Fault)>,
    /// In the order in which they came to be.
    processes: Vec<Pid>,
    /// The instance that hands over, and its threads, of which the newest answers the restarter.
    old: Option<Pid>,
    old_threads: Vec<Pid>,
    /// The starter has forked. (The child may be heard of before, or after.)
    forked: bool,
    /// `main` has begun: its first call is getpid(2), with which the library asks whether it is PID
    /// 1.
    main: bool,
    /// The daemon has made its last call.
    ready: bool,
    /// Who is in a system call.
    inside: HashMap<Pid, bool>,
    counts: HashMap<(Role, i64), usize>,
    /// Whose call is to fail at its end, and how.
    failing: Option<(Pid, i32)>,
    seen: Seen,
}

impl Tracer<'_> {
    /// Until the starter has ended or, where there is none, nothing is left to do.
    fn watch(&mut self) {
        let starter = self.processes[0];
        loop {
            // Only what this thread traces, not what other threads have started.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Err(Errno::EINTR) => continue,
                status => status.expect("a traced process"),
            };
            let pid = status.pid().expect("of a process");
            self.know(pid);
            let passed_on = match status {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) if pid == starter => return,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
                WaitStatus::PtraceEvent(_, _, event)
                    if event == Event::PTRACE_EVENT_EXEC as i32 =>
                {
                    self.inside.insert(pid, true);
                    None
                }
                WaitStatus::PtraceEvent(_, _, event)
                    if event == Event::PTRACE_EVENT_FORK as i32 =>
                {
                    self.forked = true;
                    None
                }
                WaitStatus::PtraceSyscall(_) => {
                    let inside = self.inside.entry(pid).or_default();
                    *inside = !*inside;
                    if *inside {
                        self.enter(pid);
                    } else {
                        self.leave(pid);
                    }
                    None
                }
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            // When all is done only the signals are passed on.
            let over = self.seen.struck.is_some() && self.failing.is_none();
            if self.scenario == Scenario::Foreground
                && (over || self.ready && self.failing.is_none())
            {
                return;
            }
            match if over {
                ptrace::cont(pid, passed_on)
            } else {
                ptrace::syscall(pid, passed_on)
            } {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("tracing {pid}: {error}"),
            }
        }
    }

    /// Finds out what it is that is heard of for the first time.
    fn know(&mut self, pid: Pid) {
        if self.processes.contains(&pid) || self.old_threads.contains(&pid) {
            return;
        }
        let of_old = self
            .old
            .is_some_and(|old| fs::exists(format!("/proc/{old}/task/{pid}")).unwrap_or(false));
        if of_old {
            &mut self.old_threads
        } else {
            &mut self.processes
        }
        .push(pid);
    }

    fn role(&self, pid: Pid) -> Option<Role> {
        if self.old_threads.contains(&pid) {
            return Some(Role::Old);
        }
        let place = self.processes.iter().position(|&known| known == pid)?;
        self.scenario.roles().get(place).copied()
    }

    fn enter(&mut self, pid: Pid) {
        let Some(role) = self.role(pid) else { return };
        // Whoever is killed meanwhile has no registers.
        let Ok(mut registers) = ptrace::getregs(pid) else {
            return;
        };
        let number = registers.orig_rax.cast_signed();
        self.main |= number == libc::SYS_getpid;
        if !self.main || self.seen.struck.is_some() || (role == Role::Daemon && self.ready) {
            return;
        }
        let count = self.counts.entry((role, number)).or_default();
        *count += 1;
        let arguments = [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ];
        let shown = show(pid, number, arguments);
        let call = Call {
            role,
            number,
            nth: *count,
            arguments,
            shown,
        };
        let (last, length, first) = self.scenario.last_call();
        self.ready |= role == Role::Daemon
            && (number, arguments[2]) == (last, length)
            && first.is_none_or(|first| written(pid, number, arguments[1]).first() == Some(&first));
        if let Some((_, fault)) = self.strike.filter(|(target, _)| target.is_same(&call)) {
            match fault {
                Fault::Kill => kill(pid, Signal::SIGKILL).expect("a stopped process"),
                Fault::Error(error) => {
                    if number != libc::SYS_close {
                        registers.orig_rax = u64::MAX; // No call has this number: nothing is done.
                        ptrace::setregs(pid, registers).expect("a stopped process");
                    }
                    self.failing = Some((pid, error));
                }
            }
            self.seen.struck = Some(call.clone());
            self.seen.forked = self.forked;
        }
        self.seen.calls.push(call);
    }

    fn leave(&mut self, pid: Pid) {
        if let Some((_, error)) = self.failing.take_if(|(failing, _)| *failing == pid)
            && let Ok(mut registers) = ptrace::getregs(pid)
        {
            registers.rax = i64::from(-error).cast_unsigned();
            // A process that is killed meanwhile needs none.
            _ = ptrace::setregs(pid, registers);
        }
    }
}

/// A call as a person reads it.
fn show(pid: Pid, number: i64, arguments: [u64; 6]) -> String {
    let Some(kind) = kind(number) else {
        return format!("system call {number}");
    };
    let show = |(place, value): (usize, u64)| match kind.path {
        Some(path) if path == place => {
            format!("{:?}", String::from_utf8_lossy(&string(pid, value)))
        }
        _ if value > u64::MAX >> 32 => format!("{}", value.cast_signed()),
        _ => format!("{value:#x}"),
    };
    let shown: Vec<_> = (0..).zip(arguments).map(show).take(4).collect();
    format!("{}({})", kind.name, shown.join(", "))
}

/// What a call writes, up to a NUL: writev(2) has the addresses of its pieces at the address.
fn written(pid: Pid, number: i64, address: u64) -> Vec<u8> {
    let pieces = ptrace::read(pid, address as ptrace::AddressType).map_or(0, i64::cast_unsigned);
    string(
        pid,
        if number == libc::SYS_writev {
            pieces
        } else {
            address
        },
    )
}

/// The bytes at an address up to a NUL, at most 200.
fn string(pid: Pid, address: u64) -> Vec<u8> {
    let word =
        |at: u64| ptrace::read(pid, (address + at) as ptrace::AddressType).map(i64::to_ne_bytes);
    let bytes = (0..25).map_while(|place| word(8 * place).ok()).flatten();
    bytes.take_while(|&byte| byte != 0).collect()
}
