//! Strikes one system call of one process.

use std::collections::HashMap;
use std::ops::ControlFlow;

use daemon_harness::trace::{Family, Stop, follow};
use daemon_harness::{Launch, Running, Scene};
use libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::faults::{Fault, kind};
use super::scenarios::Scenario;

/// What a process is to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The program that launches the starter.
    Caller,
    Starter,
    Intermediate,
    Daemon,
    /// The instance that hands over.
    Old,
}

pub(crate) const ROLES: [Role; 5] = [
    Role::Caller,
    Role::Starter,
    Role::Intermediate,
    Role::Daemon,
    Role::Old,
];

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
    /// The starter had forked before that; or, if it befell its caller, the caller had.
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
    let mut watch = Watch {
        scenario,
        strike,
        stage: Stage::Before,
        ready: false,
        counts: HashMap::new(),
        failing: None,
        seen: Seen {
            calls: Vec::new(),
            struck: None,
            forked: false,
        },
    };
    let running = follow(scene, launch, old, |family, stop| {
        match stop {
            Stop::Enter(pid) => watch.enter(family, pid),
            Stop::Leave(pid) => watch.leave(pid),
        }
        watch.next()
    });
    (running, watch.seen)
}

/// How far the start has come.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Before,
    /// The caller has begun to launch: its first call is memfd_create(2).
    Launching,
    /// The constructor runs: its first call looks how many descriptors are open, and those that
    /// follow look at each.
    Constructor,
    /// `main` has begun: its first call is getpid(2), with which the library asks whether it is
    /// PID 1, or late unshare(2), by which it looks for threads.
    Main,
}

struct Watch<'a> {
    scenario: Scenario,
    strike: Option<(&'a Call, Fault)>,
    stage: Stage,
    /// The daemon has made its last call.
    ready: bool,
    counts: HashMap<(Role, i64), usize>,
    /// The process whose call is to fail at its end, and how.
    failing: Option<(Pid, i32)>,
    seen: Seen,
}

impl Watch<'_> {
    /// Breaks off when all is done. A service in the foreground has no starter that ends.
    fn next(&self) -> ControlFlow<()> {
        let ready = self.scenario == Scenario::Foreground && self.ready;
        if self.failing.is_none() && (self.seen.struck.is_some() || ready) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn role(&self, family: &Family, pid: Pid) -> Option<Role> {
        if family.is_old(pid) {
            return Some(Role::Old);
        }
        self.scenario.roles().get(family.place(pid)?).copied()
    }

    fn enter(&mut self, family: &Family, pid: Pid) {
        let Some(role) = self.role(family, pid) else {
            return;
        };
        // A process that is killed meanwhile has no registers.
        let Ok(registers) = ptrace::getregs(pid) else {
            return;
        };
        let number = registers.orig_rax.cast_signed();
        let has_begun = match role {
            Role::Caller => {
                if self.stage == Stage::Before && number == libc::SYS_memfd_create {
                    self.stage = Stage::Launching;
                }
                self.stage >= Stage::Launching
            }
            // It runs all the time, also while the new program is being loaded.
            Role::Old => self.stage == Stage::Main,
            _ => {
                if [libc::SYS_getpid, libc::SYS_unshare].contains(&number) {
                    self.stage = Stage::Main;
                } else if self.stage < Stage::Main {
                    self.stage = if self.is_of_constructor(pid, &registers) {
                        Stage::Constructor
                    } else {
                        Stage::Launching
                    };
                }
                self.stage >= Stage::Constructor
            }
        };
        if !has_begun || self.seen.struck.is_some() || (role == Role::Daemon && self.ready) {
            return;
        }
        let call = self.call(pid, role, &registers);
        if role == Role::Daemon && self.is_last(pid, &call) {
            self.ready = true;
        }
        if let Some((target, fault)) = self.strike
            && target.is_same(&call)
        {
            self.strike(pid, registers, fault);
            self.seen.struck = Some(call.clone());
            self.seen.forked = match (self.scenario, role) {
                (Scenario::Launched, Role::Caller) => family.forked_at(0),
                (Scenario::Launched, _) => family.forked_at(1),
                _ => family.has_forked,
            };
        }
        self.seen.calls.push(call);
    }

    /// Whether a call before `main` is the constructor's.
    fn is_of_constructor(&self, pid: Pid, registers: &user_regs_struct) -> bool {
        let in_constructor = self.stage == Stage::Constructor;
        match registers.orig_rax.cast_signed() {
            libc::SYS_newfstatat => {
                in_constructor || string(pid, registers.rsi) == b"/proc/self/fd"
            }
            libc::SYS_fcntl
            | libc::SYS_fstat
            | libc::SYS_prlimit64
            | libc::SYS_brk
            | libc::SYS_mmap => in_constructor,
            // The standard library asks for three.
            libc::SYS_poll => in_constructor && registers.rsi > 3,
            _ => false,
        }
    }

    /// Counts a call that is about to be made.
    fn call(&mut self, pid: Pid, role: Role, registers: &user_regs_struct) -> Call {
        let number = registers.orig_rax.cast_signed();
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
        Call {
            role,
            number,
            nth: *count,
            arguments,
            shown: show(pid, number, arguments),
        }
    }

    /// Whether this is the daemon's last call of the start.
    fn is_last(&self, pid: Pid, call: &Call) -> bool {
        let (number, length, first) = self.scenario.last_call();
        let begins = |byte| written(pid, number, call.arguments[1]).first() == Some(&byte);
        (call.number, call.arguments[2]) == (number, length) && first.is_none_or(begins)
    }

    fn strike(&mut self, pid: Pid, mut registers: user_regs_struct, fault: Fault) {
        match fault {
            Fault::Kill => kill(pid, Signal::SIGKILL).expect("a stopped process"),
            Fault::Error(error) => {
                if registers.orig_rax.cast_signed() != libc::SYS_close {
                    registers.orig_rax = u64::MAX; // No call has this number: nothing is done.
                    ptrace::setregs(pid, registers).expect("a stopped process");
                }
                self.failing = Some((pid, error));
            }
        }
    }

    fn leave(&mut self, pid: Pid) {
        let failing = self.failing.take_if(|(failing, _)| *failing == pid);
        if let Some((_, error)) = failing
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
