//! A bell that a signal handler rings: for threads that wait, poll(2) loops, and tasks of any asynchronous runtime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getpid;

use crate::handshake::pipe;

#[derive(Debug)]
pub(crate) struct Bell {
    read: OwnedFd,
    write: OwnedFd,
    /// Whose it is: a child that the service forks gets signals of its own.
    pid: AtomicI32,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: Vec<Waker>,
    watched: bool,
}

impl Bell {
    pub(crate) fn new() -> nix::Result<Self> {
        let (read, write) = pipe()?;
        Ok(Self { read, write, pid: getpid().as_raw().into(), waiting: Mutex::default() })
    }

    /// From here on the bell is this process's, which is the daemon: `configure` may have made it in the starter.
    pub(crate) fn adopt(&self) {
        self.pid.store(getpid().as_raw(), Ordering::Release);
    }

    /// Rings in the process whose bell it is; `false` in another. Calls only what signal-safety(7) allows.
    pub(crate) fn ring(&self) -> bool {
        let ours = self.pid.load(Ordering::Acquire) == getpid().as_raw();
        if ours {
            // A full pipe is as readable as one with a byte.
            _ = nix::unistd::write(&self.write, &[0]);
        }
        ours
    }

    /// Forgets that it rang.
    pub(crate) fn reset(&self) {
        let mut rings = [0; 64];
        while nix::unistd::read(&self.read, &mut rings).is_ok_and(|count| count == rings.len()) {}
    }

    /// Waits until it rings or has rung, a signal comes, or the time is up.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        // Rounded up, or the last millisecond would be spent asking; a wait beyond poll(2)'s longest is cut short.
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        _ = poll(&mut [PollFd::new(self.read.as_fd(), PollFlags::POLLIN)], timeout);
    }

    /// Has a task woken when it rings. The first that waits starts a thread, which ends with the ring.
    pub(crate) fn wake(&'static self, context: &Context<'_>) {
        let mut waiting = self.waiting();
        if !waiting.tasks.iter().any(|task| task.will_wake(context.waker())) {
            waiting.tasks.push(context.waker().clone());
        }
        if !waiting.watched {
            let watch = || {
                self.wait(None);
                let rung = std::mem::take(&mut *self.waiting());
                rung.tasks.into_iter().for_each(Waker::wake);
            };
            waiting.watched = std::thread::Builder::new().name("signals".to_owned()).spawn(watch).is_ok();
        }
        if !waiting.watched {
            // No thread to be had: the task has to ask again.
            context.waker().wake_by_ref();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
