//! Processes that have nothing to do with the service, and have pids beside those of its processes.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use daemon_harness::noise::{hold_locks, mount_tmpfs};
use daemon_harness::{Proc, Running};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, pause};

/// The PID 1 of a pid namespace: it reaps, and is none that means supervision. It says when it is
/// there.
pub(crate) fn init() -> ! {
    let ended = SigSet::from(Signal::SIGCHLD);
    ended.thread_block().expect("a signal mask");
    // Locks that have nothing to do with the service, either. Root of a user namespace alone may
    // not mount.
    let place = Path::new("/mnt");
    let _locks = mount_tmpfs(place).and_then(|()| hold_locks(place));
    say("ready");
    loop {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {
        }
        let _ = ended.wait();
    }
}

fn say(word: &str) {
    let _ = writeln!(io::stdout(), "{word}").and_then(|()| io::stdout().flush());
}

/// `crowd NUMBER [PID]`: so many children that do nothing, the first with the pid that follows. It
/// says when all are there.
pub(crate) fn crowd() -> ! {
    let number = |place: usize| {
        std::env::args()
            .nth(place)
            .and_then(|text| text.parse::<u32>().ok())
    };
    if let Some(before) = number(3) {
        // Where it cannot be written they have any numbers.
        let _ = fs::write("/proc/sys/kernel/ns_last_pid", before.to_string());
    }
    for _ in 0..number(2).unwrap_or(1) {
        if daemon_harness::fork().is_ok_and(ForkResult::is_child) {
            rest();
        }
    }
    say("ready");
    rest()
}

fn rest() -> ! {
    loop {
        pause();
    }
}

/// A crowd that was started.
pub(crate) struct Crowd<'s> {
    _running: Running<'s>,
    people: Vec<Proc>,
}

impl<'s> Crowd<'s> {
    /// All of it, when it has said that it is there.
    pub(crate) fn new(running: Running<'s>, program: &Path) -> Self {
        let mut people = Proc::descendants(running.pid());
        people.extend(Proc::new(running.pid()));
        let of_it = |person: &Proc| {
            fs::read_link(format!("/proc/{}/exe", person.pid())).is_ok_and(|exe| exe == program)
        };
        people.retain(of_it);
        Self {
            _running: running,
            people,
        }
    }

    /// Who of them was sent a signal, or has ended.
    pub(crate) fn harmed(&self) -> Option<String> {
        let harmed = |person: &&Proc| {
            person.is_gone() || {
                let status = person.status();
                status.sigpnd | status.shdpnd != 0
            }
        };
        let person = self.people.iter().find(harmed)?;
        let how = if person.is_gone() {
            "has ended"
        } else {
            "was sent a signal"
        };
        Some(format!("a bystander ({}) {how}", person.pid()))
    }
}
