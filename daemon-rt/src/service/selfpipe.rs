//! The self-pipe: a signal handler sets a flag and writes to a pipe, and wakes threads that wait,
//! poll(2) loops, and tasks of any asynchronous runtime.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;
#[cfg(not(target_os = "linux"))]
use std::time::Duration;
use std::time::Instant;

#[cfg(not(target_os = "linux"))]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getpid;

use super::tasks::Tasks;
use crate::sys;
use crate::sys::kept::Kept;

/// How often a thread that waits checks the flag, whatever poll(2) tells it.
#[cfg(not(target_os = "linux"))]
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The values of the flag.
const NO_REQUEST: u32 = 0;
const REQUEST: u32 = 1;

/// A request that signals make: a flag, and a pipe that is readable while the flag is set.
///
/// The service can close the pipe, or replace it by files of its own, even while a thread polls it:
/// a kernel that looks the number up again then sleeps on the service's file. So on Linux threads
/// wait for the flag itself, and the pipe is for the service's poll(2) loops. Elsewhere they wait
/// for the pipe, and check the flag at intervals.
#[derive(Debug)]
pub(crate) struct SelfPipe {
    pending: AtomicU32,
    wakes: AtomicUsize,
    read: Kept,
    write: Kept,
    /// The process whose signals it notes. A child that the service forks has signals of its own.
    pid: AtomicI32,
    waiting: Mutex<Waiting>,
}

/// The tasks that wait for the request, and whether a thread waits for them.
#[derive(Debug)]
struct Waiting {
    tasks: Tasks,
    has_thread: bool,
}

impl SelfPipe {
    pub(crate) fn new() -> nix::Result<Self> {
        let (read, write) = sys::pipe()?;
        Ok(Self {
            pending: NO_REQUEST.into(),
            wakes: 0.into(),
            read: Kept::new(read)?,
            write: Kept::new(write)?,
            pid: getpid().as_raw().into(),
            waiting: Mutex::new(Waiting {
                tasks: Tasks::new(),
                has_thread: false,
            }),
        })
    }

    /// Makes it this process's, which is the daemon: `configure` may have made it in the starter.
    pub(crate) fn adopt(&self) {
        self.pid.store(getpid().as_raw(), Ordering::Release);
    }

    /// Notes a request and wakes those who wait for it; `false` in a process whose pipe it is not.
    /// Calls only what signal-safety(7) allows.
    pub(crate) fn wake(&self) -> bool {
        self.wakes.fetch_add(1, Ordering::AcqRel);
        self.pending.store(REQUEST, Ordering::Release);
        let is_own = self.pid.load(Ordering::Acquire) == getpid().as_raw();
        if is_own {
            #[cfg(target_os = "linux")]
            sys::futex_wake(&self.pending);
            // Without a reader there would be a SIGPIPE.
            if let (Some(_), Some(write)) = (self.read.find(), self.write.find()) {
                // A full pipe is as readable as one with a byte.
                _ = nix::unistd::write(write, &[0]);
            }
        }
        is_own
    }

    /// How often a request has been noted.
    #[cfg(target_os = "linux")]
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Acquire)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire) == REQUEST
    }

    /// Takes the request; `false` if there is none.
    pub(crate) fn take(&self) -> bool {
        if let Some(read) = self.read.find() {
            let mut bytes = [0; 64];
            while nix::unistd::read(read, &mut bytes) == Ok(bytes.len()) {}
        }
        self.pending.swap(NO_REQUEST, Ordering::AcqRel) == REQUEST
    }

    /// Waits until there is a request, or the time is up. It may return early, as after a signal.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        let limit = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        sys::futex_wait(&self.pending, NO_REQUEST, limit);
    }

    /// Waits until there is a request, the time is up, or the flag has to be checked. It may return
    /// early, as after a signal.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        let mut limit = CHECK_INTERVAL;
        if let Some(deadline) = deadline {
            limit = limit.min(deadline.saturating_duration_since(Instant::now()));
        }
        // Rounded up: rounded down, the last millisecond would be spent polling.
        let limit = PollTimeout::try_from(limit + Duration::from_millis(1)).expect("it is short");
        // Without the other end, this one is always readable.
        _ = if let (Some(read), Some(_)) = (self.read.find(), self.write.find()) {
            poll(&mut [PollFd::new(read, PollFlags::POLLIN)], limit)
        } else {
            poll(&mut [], limit)
        };
    }

    /// Has a task woken by the next request. The first task that waits starts a thread, which ends
    /// with the request.
    pub(crate) fn register(&'static self, context: &Context<'_>) {
        let mut waiting = self.waiting();
        let forgotten = waiting.tasks.add(context.waker());
        if !waiting.has_thread {
            let thread = std::thread::Builder::new().name("signals".to_owned());
            match thread.spawn(|| self.wake_tasks()) {
                Ok(_) => waiting.has_thread = true,
                // The task has to ask again.
                Err(_) => context.waker().wake_by_ref(),
            }
        }
        drop(waiting);
        forgotten.wake();
    }

    fn wake_tasks(&self) {
        while !self.is_pending() {
            self.wait(None);
        }
        let mut waiting = self.waiting();
        waiting.has_thread = false;
        let tasks = waiting.tasks.take();
        drop(waiting);
        tasks.wake();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for SelfPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
