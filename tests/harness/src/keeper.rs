//! The keeper of a scene: starts what the test asks for, adopts what that leaves behind, tells how
//! each process ended, and when its stdin ends, which it does however the test ends, kills all of
//! it and removes the scene's directory.
//!
//! `keeper DIRECTORY`, with the protocol of `protocol`. To what it starts it is an
//! ordinary shell: the parent, the leader of the session, and owner of the terminal if there is
//! one.
//!
//! It has a single thread, so that its children may do as they like between fork and exec.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgrp, tcsetpgrp};

use crate::noise::bystander;
use crate::protocol::{Event, Group, Request, Spec};
use crate::{Proc, bin, enter};

/// The name that a program is called by which is to be a keeper.
const NAME: &str = "keeper";

/// This program, if it is its own keeper.
static THIS_PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Has scenes start this program as their keeper, so that no other has to be beside it. Where it
/// was started as one, it is one until its end. To be called first in `main`.
pub fn within_this_program() {
    if env::args_os().next().is_some_and(|name| name == NAME) {
        main();
        exit(0);
    }
    let me = env::current_exe().expect("the path of this program");
    THIS_PROGRAM.set(me).expect("called once");
}

/// The keeper's program.
pub(crate) fn command() -> Command {
    let Some(me) = THIS_PROGRAM.get() else {
        return Command::new(bin(NAME));
    };
    let mut command = Command::new(me);
    command.arg0(NAME);
    command
}

/// Does what a keeper does, until the end of stdin. The directory is the program's first argument.
///
/// # Panics
/// If this process cannot become a keeper: its scene cannot begin then.
pub fn main() {
    let directory = PathBuf::from(env::args_os().nth(1).expect("the scene's directory"));
    let mut keeper = Keeper::new().expect("a keeper");
    keeper.serve();
    kill_everything();
    // What a daemon wrote is the scene's; nothing of the scene is mounted anywhere outside its own
    // namespaces.
    let _ = fs::remove_dir_all(directory);
}

struct Keeper {
    requests: BufReader<File>,
    signals: SignalFd,
    /// Started, and not ended; those with a group of their own are the jobs of this shell.
    started: BTreeMap<i32, Group>,
    has_started: bool,
    reap_orphans: bool,
    terminal: Option<File>,
}

impl Keeper {
    fn new() -> io::Result<Self> {
        enter::become_keeper()?;
        let signals = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGHUP]);
        let mut blocked = signals;
        blocked.add(Signal::SIGTTOU); // Whoever blocks it may take the terminal without owning it.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        Ok(Self {
            requests: BufReader::new(io::stdin().as_fd().try_clone_to_owned()?.into()),
            signals: SignalFd::with_flags(
                &signals,
                SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
            )?,
            started: BTreeMap::new(),
            has_started: false,
            reap_orphans: true,
            terminal: None,
        })
    }

    /// Until the end of stdin.
    fn serve(&mut self) {
        loop {
            let readable = [self.requests.get_ref().as_fd(), self.signals.as_fd()];
            let mut polled = readable.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
            poll(&mut polled, PollTimeout::NONE).expect("poll");
            let [requested, signalled] = polled.map(|polled| polled.any().unwrap_or(true));
            if signalled {
                self.take_signals();
            }
            if requested && !self.take_requests() {
                return;
            }
        }
    }

    /// Answers what there is to read; false at the end of stdin.
    fn take_requests(&mut self) -> bool {
        loop {
            let mut line = String::new();
            // A request is written at once, so that a line that has begun is soon complete.
            if !matches!(self.requests.read_line(&mut line), Ok(1..)) {
                return false;
            }
            let (number, result) = match serde_json::from_str(&line).expect("a request") {
                Request::Start(number, spec) => (number, self.start(&spec)),
                Request::Terminal(number, path) => {
                    (number, self.take_terminal(&path).map_err(|e| e.to_string()))
                }
                Request::ReapOrphans(number, reap) => {
                    self.reap_orphans = reap;
                    self.reap();
                    (number, Ok(0))
                }
            };
            tell(&match result {
                Ok(pid) => Event::Done(number, pid),
                Err(text) => Event::Refused(number, text),
            });
            if self.requests.buffer().is_empty() {
                return true;
            }
        }
    }

    /// The first has bystanders with the pids before and after it.
    fn start(&mut self, spec: &Spec) -> Result<i32, String> {
        let first = !std::mem::replace(&mut self.has_started, true);
        stand_by(first);
        let started = enter::start(spec);
        stand_by(first);
        let pid = started?;
        self.started.insert(pid, spec.group);
        Ok(pid)
    }

    /// Opening a terminal makes it the controlling one of a session leader that has none.
    fn take_terminal(&mut self, path: &Path) -> io::Result<i32> {
        self.terminal = Some(OpenOptions::new().read(true).write(true).open(path)?);
        Ok(0)
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if Signal::try_from(info.ssi_signo.cast_signed()) == Ok(Signal::SIGHUP) {
                // The terminal was hung up: as a shell does, pass it on to the jobs, stopped ones
                // too.
                for (&pid, _) in self
                    .started
                    .iter()
                    .filter(|(_, group)| **group == Group::Own)
                {
                    let _ = killpg(Pid::from_raw(pid), Signal::SIGHUP);
                    let _ = killpg(Pid::from_raw(pid), Signal::SIGCONT);
                }
            }
        }
        self.reap();
    }

    fn reap(&mut self) {
        if self.reap_orphans {
            while let Ok(Some((pid, status))) = enter::reap(None) {
                self.ended(pid, status);
            }
        } else {
            for pid in self.started.clone().into_keys() {
                if let Ok(Some((pid, status))) = enter::reap(Some(pid)) {
                    self.ended(pid, status);
                }
            }
        }
    }

    fn ended(&mut self, pid: i32, status: i32) {
        let job = self.started.remove(&pid).is_some();
        if let Some(terminal) = self.terminal.as_ref().filter(|_| job) {
            let _ = tcsetpgrp(terminal, getpgrp()); // As a shell does at the end of a job.
        }
        tell(&Event::Ended(pid, status));
    }
}

/// Forks a bystander, if that is asked for and possible.
fn stand_by(wanted: bool) {
    if let Some(pid) = wanted.then(bystander).and_then(Result::ok) {
        tell(&Event::Bystander(pid));
    }
}

/// Kills every descendant, until there is none. What is below this process stays below it, as it is
/// a subreaper: so this is over when it has no child.
fn kill_everything() {
    loop {
        for process in Proc::descendants(Pid::this().as_raw()) {
            process.kill();
        }
        while match enter::reap(None) {
            Ok(reaped) => reaped.is_some(),
            Err(_) => return,
        } {}
        sleep(Duration::from_millis(1));
    }
}

/// If the test is gone, so is its end of the pipe; its requests are at an end too then.
fn tell(event: &Event) {
    let line = serde_json::to_string(event).expect("an event") + "\n";
    let _ = io::stdout()
        .write_all(line.as_bytes())
        .and_then(|()| io::stdout().flush());
}
