//! Starting a program and waiting for its end, and ending the daemon that it may have left.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use daemon_bench::PLACE;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, wait, waitpid};
use nix::unistd::Pid;

/// An environment as a person's shell has it, the same on every machine.
const ENVIRONMENT: [&str; 12] = [
    "EDITOR=vi",
    "HOME=/root",
    "LANG=C.UTF-8",
    "LC_TIME=C.UTF-8",
    "LOGNAME=root",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PWD=/root",
    "SHELL=/bin/bash",
    "SHLVL=1",
    "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22",
    "TERM=xterm-256color",
    "USER=root",
];

/// A command line that is ready to be executed, so that only what the system does is measured.
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    stderr: &'static str,
    expected: i32,
    /// How often it has run, if it is copied now and then.
    copied: Option<Cell<usize>>,
}

/// How many runs one copy of a program is good for.
const RUNS_OF_A_COPY: usize = 30;

impl Program {
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = c_string(path.as_ref());
        let environment = ENVIRONMENT.iter().map(c_string).collect();
        Self {
            arguments: vec![path.clone()],
            path,
            environment,
            stderr: "/dev/null",
            expected: 0,
            copied: None,
        }
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(c_string(argument));
        self
    }

    pub fn variable(mut self, assignment: &str) -> Self {
        self.environment.push(c_string(assignment));
        self
    }

    /// Has somewhere to write to, as on a terminal: what a program has to say goes to no log then.
    pub fn heard(mut self) -> Self {
        self.stderr = "/dev/zero";
        self
    }

    /// Ends with this exit status, not 0.
    pub fn fails_with(mut self, status: i32) -> Self {
        self.expected = status;
        self
    }

    /// Copies the program now and then: how its file lies in the page cache makes a difference of
    /// one percent.
    pub fn copied(mut self) -> Self {
        self.copied = Some(Cell::new(0));
        self
    }

    fn copy(&self) -> io::Result<()> {
        let path = Path::new(OsStr::from_bytes(self.path.to_bytes()));
        let new = path.with_extension("new");
        fs::copy(path, &new)?;
        File::open(&new)?.sync_all()?;
        fs::rename(new, path)
    }

    /// The time from the call of posix_spawn, a vfork and an execve, to the end of the process that
    /// it started.
    pub fn run(&self) -> Duration {
        if let Some(runs) = &self.copied {
            if runs.get().is_multiple_of(RUNS_OF_A_COPY) {
                self.copy().expect("the program can be copied");
            }
            runs.set(runs.get() + 1);
        }
        let (streams, attributes) = self.prepared();
        let began = Instant::now();
        let end = self.spawn(&streams, &attributes).and_then(wait_for);
        let took = began.elapsed();
        self.check(end);
        took
    }

    fn prepared(&self) -> (PosixSpawnFileActions, PosixSpawnAttr) {
        let attributes = PosixSpawnAttr::init().expect("memory");
        (streams(self.stderr), attributes)
    }

    fn spawn(
        &self,
        streams: &PosixSpawnFileActions,
        attributes: &PosixSpawnAttr,
    ) -> nix::Result<Pid> {
        posix_spawn(
            self.path.as_c_str(),
            streams,
            attributes,
            &self.arguments,
            &self.environment,
        )
    }

    fn check(&self, end: nix::Result<WaitStatus>) {
        match end {
            Ok(WaitStatus::Exited(_, status)) if status == self.expected => {}
            end => panic!("{:?}: {end:?}", self.arguments),
        }
    }
}

/// The time from the first start to the end of the last of these, which are started at once.
pub fn run_at_once(programs: &[Program]) -> Duration {
    let began = Instant::now();
    let mut running = HashMap::new();
    for program in programs {
        let (streams, attributes) = program.prepared();
        let pid = program.spawn(&streams, &attributes);
        running.insert(pid.expect("a process"), program);
    }
    while !running.is_empty() {
        let end = wait().expect("they are this process's children");
        if let Some(program) = end.pid().and_then(|pid| running.remove(&pid)) {
            program.check(Ok(end));
        }
    }
    began.elapsed()
}

fn c_string(text: impl AsRef<OsStr>) -> CString {
    CString::new(text.as_ref().as_bytes()).expect("no NUL")
}

fn streams(stderr: &str) -> PosixSpawnFileActions {
    let mut streams = PosixSpawnFileActions::init().expect("memory");
    for (stream, path) in [(0, "/dev/null"), (1, "/dev/null"), (2, stderr)] {
        streams
            .add_open(stream, path, OFlag::O_RDWR, Mode::empty())
            .expect("memory");
    }
    streams
}

/// Waits for one process and takes away whatever else ends meanwhile, as PID 1 does:
/// start-stop-daemon takes a zombie for a running service.
fn wait_for(pid: Pid) -> nix::Result<WaitStatus> {
    loop {
        let end = wait()?;
        if end.pid() == Some(pid) {
            return Ok(end);
        }
    }
}

/// What the measured programs need, and what must not be left of them, however the measurement
/// ends.
pub struct Ground(());

impl Ground {
    /// Creates the directory of the pidfiles, and makes the daemons this process's children when
    /// their starters end.
    pub fn prepare() -> io::Result<Self> {
        fs::create_dir(PLACE)?;
        let ground = Self(());
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(ground)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        end_daemons();
        _ = fs::remove_dir_all(PLACE);
    }
}

/// The processes that this one has started or adopted, and that run.
pub fn children() -> Vec<Pid> {
    // An intermediate process that its starter has not waited for is a zombie.
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(end) if end.pid().is_some()) {}
    let children = fs::read_to_string("/proc/thread-self/children").expect("/proc");
    children
        .split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().expect("a pid")))
        .collect()
}

/// Ends every daemon by its pid, one that is still being started included.
pub fn end_daemons() {
    loop {
        for child in children() {
            _ = kill(child, Signal::SIGKILL);
        }
        match wait() {
            Ok(_) => {}
            Err(Errno::ECHILD) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ends one child.
pub fn end(pid: Pid) {
    kill(pid, Signal::SIGTERM).expect("it is a child");
    waitpid(pid, None).expect("it is a child");
}
