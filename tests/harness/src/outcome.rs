//! A start under way, and what came of it.

use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{PATIENCE, Proc, Scene};

/// How long after the starter's end another process may have its pipes open before that counts as
/// held.
const PIPES_CLOSE: Duration = Duration::from_millis(500);

/// A program that was started and may still run.
pub struct Running<'s> {
    pub(crate) scene: &'s Scene,
    pub(crate) pid: i32,
    pub(crate) since: Instant,
    pub(crate) limit: Duration,
    pub(crate) stdin: Option<PipeWriter>,
    pub(crate) stdout: Option<Heard>,
    pub(crate) stderr: Option<Heard>,
    /// A strace holds the pipes, too, and may live on.
    pub(crate) traced: bool,
}

/// What came of a start.
#[derive(Debug)]
pub struct Started {
    /// The pid that the starter had.
    pub pid: i32,
    /// How it ended.
    pub status: ExitStatus,
    /// What it, and all that it started, wrote, if stdout was a pipe.
    pub stdout: String,
    /// The same for stderr.
    pub stderr: String,
    /// From the request to start to its end.
    pub elapsed: Duration,
    /// Within half a second after the starter's end nobody held the pipes of stdout and stderr any
    /// more; otherwise `ssh host service` would hang.
    pub pipes_closed: bool,
}

impl Running<'_> {
    /// Its pid: the starter's, or, in the foreground, the service's.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process, which must not have ended.
    pub fn process(&self) -> Proc {
        Proc::new(self.pid)
            .filter(|process| !process.is_gone())
            .unwrap_or_else(|| panic!("{} is gone", self.pid))
    }

    /// Sends it a signal. (If it has just ended, the test has failed.)
    pub fn signal(&self, signal: i32) {
        self.process().signal(signal);
    }

    /// It has not ended.
    pub fn is_running(&self) -> bool {
        self.scene.keeper.ended(self.pid, Instant::now()).is_none()
    }

    /// The writing end of its stdin, where that is a pipe. Dropping it is end of file.
    pub fn stdin(&mut self) -> Option<PipeWriter> {
        self.stdin.take()
    }

    /// What it wrote so far.
    pub fn stdout(&self) -> String {
        self.stdout.as_ref().map(Heard::text).unwrap_or_default()
    }

    /// What it wrote so far.
    pub fn stderr(&self) -> String {
        self.stderr.as_ref().map(Heard::text).unwrap_or_default()
    }

    /// Waits for its end; fails, with all that can be said of the scene, if that does not come
    /// before the limit.
    pub fn wait(self) -> Started {
        let Some((status, end)) = self.scene.keeper.ended(self.pid, self.since + self.limit) else {
            panic!(
                "process {} has not ended within {:?}\n{}stdout: {}\nstderr: {}",
                self.pid,
                self.limit,
                self.scene.tree(),
                self.stdout(),
                self.stderr()
            );
        };
        let pipes_closed = self.wait_closed();
        Started {
            pid: self.pid,
            status: ExitStatus::from_raw(status),
            stdout: self.stdout(),
            stderr: self.stderr(),
            elapsed: end - self.since,
            pipes_closed,
        }
    }

    fn is_held(&self, pipe: &Heard) -> bool {
        self.scene
            .processes()
            .iter()
            .any(|process| pipe.is_held_by(process))
    }

    /// Waits until the pipes are closed, or until only strace holds them and all that was written
    /// is read.
    fn wait_closed(&self) -> bool {
        let deadline = Instant::now() + PIPES_CLOSE;
        let let_go = |pipe: &Heard| {
            pipe.is_closed() || self.traced && !self.is_held(pipe) && pipe.is_drained()
        };
        let pipes = || [&self.stdout, &self.stderr].into_iter().flatten();
        while !pipes().all(let_go) {
            // What is closed the reading thread sees when it gets to run.
            let late = Instant::now() > deadline;
            if late && pipes().any(|pipe| self.is_held(pipe))
                || Instant::now() > deadline + PATIENCE
            {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Started {
    /// Fails unless the starter says that the service is ready, and let go of the pipes.
    pub fn assert_ready(&self) -> &Self {
        assert!(
            self.status.success() && self.pipes_closed,
            "not a good start: {self:#?}"
        );
        self
    }

    /// Fails unless it exited with this status, and let go of the pipes.
    pub fn assert_exited(&self, code: i32) -> &Self {
        assert!(
            self.status.code() == Some(code) && self.pipes_closed,
            "not an exit with status {code}: {self:#?}"
        );
        self
    }

    /// Fails unless it died by this signal.
    pub fn assert_killed(&self, signal: i32) -> &Self {
        assert_eq!(
            self.status.signal(),
            Some(signal),
            "not a death by signal {signal}: {self:#?}"
        );
        self
    }

    /// Fails unless each of these is part of what it wrote on stderr.
    pub fn assert_says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing: {self:#?}");
        }
        self
    }
}

/// What is read from a pipe, by a thread of its own, so that nobody blocks who writes.
pub(crate) struct Heard {
    pipe: Arc<PipeReader>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    closed: bool,
}

impl Heard {
    pub(crate) fn new(pipe: PipeReader) -> Self {
        let (pipe, state) = (Arc::new(pipe), Arc::<Mutex<State>>::default());
        thread::spawn({
            let (pipe, state) = (pipe.clone(), state.clone());
            move || listen(&pipe, &state)
        });
        Self { pipe, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while reading")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.state().bytes).into_owned()
    }

    /// Every writing end is closed, and all is read.
    fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// There is nothing left to read.
    fn is_drained(&self) -> bool {
        let _reading = self.state();
        let mut polled = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).expect("poll") == 0
    }

    fn is_held_by(&self, process: &Proc) -> bool {
        let pipe = fs::read_link(format!("/proc/self/fd/{}", self.pipe.as_raw_fd()))
            .expect("the name of a pipe");
        // It may end just now.
        let open = fs::read_dir(format!("/proc/{}/fd", process.pid()))
            .into_iter()
            .flatten()
            .flatten();
        open.map(|descriptor| fs::read_link(descriptor.path()))
            .any(|target| target.is_ok_and(|target| target == pipe))
    }
}

fn listen(mut pipe: &PipeReader, state: &Mutex<State>) {
    let mut bytes = [0; 4096];
    loop {
        poll(
            &mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        )
        .expect("poll");
        // Read under the lock, so that whoever holds it sees all that is no longer in the pipe.
        let mut heard = state.lock().expect("no panic while reading");
        let length = pipe.read(&mut bytes).expect("a pipe");
        heard.bytes.extend_from_slice(&bytes[..length]);
        heard.closed = length == 0;
        if heard.closed {
            return;
        }
    }
}
