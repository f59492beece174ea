//! The self-pipe: a signal handler writes to it, and wakes threads that wait, poll(2) loops, and
//! tasks of any asynchronous runtime.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getpid;

use crate::report::log;
use crate::sys;
use crate::sys::kept::Kept;

/// How often the flag is checked where the pipe is lost.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A request that signals make: a flag, and a pipe that is readable while the flag is set.
///
/// The service can close the pipe, or replace it by files of its own. Those files are left alone,
/// and the flag is checked at intervals instead.
#[derive(Debug)]
pub(crate) struct SelfPipe {
    pending: AtomicBool,
    wakes: AtomicUsize,
    read: Kept,
    write: Kept,
    loss_reported: Once,
    /// The process whose signals it notes. A child that the service forks has signals of its own.
    pid: AtomicI32,
    tasks: Mutex<Tasks>,
}

/// The tasks that wait for the request, and whether a thread waits for them.
#[derive(Debug, Default)]
struct Tasks {
    wakers: Vec<Waker>,
    has_thread: bool,
}

impl SelfPipe {
    pub(crate) fn new() -> nix::Result<Self> {
        let (read, write) = sys::pipe()?;
        Ok(Self {
            pending: false.into(),
            wakes: 0.into(),
            read: Kept::new(read)?,
            write: Kept::new(write)?,
            loss_reported: Once::new(),
            pid: getpid().as_raw().into(),
            tasks: Mutex::default(),
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
        self.pending.store(true, Ordering::Release);
        let is_own = self.pid.load(Ordering::Acquire) == getpid().as_raw();
        if is_own {
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
        self.pending.load(Ordering::Acquire)
    }

    /// Takes the request; `false` if there is none.
    pub(crate) fn take(&self) -> bool {
        if let Some(read) = self.read.find() {
            let mut bytes = [0; 64];
            while nix::unistd::read(read, &mut bytes) == Ok(bytes.len()) {}
        }
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// Waits until there is a request, a signal comes, or the time is up.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        if let Err(error) = self.wait_readable(deadline) {
            self.loss_reported.call_once(|| {
                let interval = CHECK_INTERVAL.as_millis();
                let text = format!("{error}: signals are noticed up to {interval} ms late");
                log::error(&text);
            });
            self.wait_pending(deadline);
        }
    }

    fn wait_readable(&self, deadline: Option<Instant>) -> io::Result<()> {
        // Without the other end, this one is always readable.
        self.write.get()?;
        let mut fds = [PollFd::new(self.read.get()?, PollFlags::POLLIN)];
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks the flag at intervals.
    fn wait_pending(&self, deadline: Option<Instant>) {
        while !self.is_pending() {
            let now = Instant::now();
            let mut next = now + CHECK_INTERVAL;
            if let Some(deadline) = deadline {
                if deadline <= now {
                    break;
                }
                next = next.min(deadline);
            }
            // A signal interrupts it, unlike a sleep.
            if poll(&mut [], timeout(Some(next))).is_err() {
                break;
            }
        }
    }

    /// Has a task woken by the next request. The first task that waits starts a thread, which ends
    /// with the request.
    pub(crate) fn register(&'static self, context: &Context<'_>) {
        let waker = context.waker();
        let mut tasks = self.tasks();
        if !tasks.wakers.iter().any(|known| known.will_wake(waker)) {
            tasks.wakers.push(waker.clone());
        }
        if tasks.has_thread {
            return;
        }
        let thread = std::thread::Builder::new().name("signals".to_owned());
        match thread.spawn(|| self.wake_tasks()) {
            Ok(_) => tasks.has_thread = true,
            // The task has to ask again.
            Err(_) => waker.wake_by_ref(),
        }
    }

    fn wake_tasks(&self) {
        self.wait(None);
        let tasks = mem::take(&mut *self.tasks());
        for waker in tasks.wakers {
            waker.wake();
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time left, rounded up: rounded down, the last millisecond would be spent polling. A wait
/// beyond poll(2)'s longest is cut short.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

impl AsFd for SelfPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
