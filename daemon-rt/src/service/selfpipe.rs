//! A bell that a signal handler rings: for threads that wait, poll(2) loops, and tasks of any
//! asynchronous runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::getpid;

use crate::report::pipe::pipe;
use crate::report::{self, log};
use crate::sys::kept::Kept;

/// How often a bell is looked at that cannot be heard.
const LOOK: Duration = Duration::from_millis(100);

/// The service can close its pipe, or replace it by files of its own. These are left alone, and the
/// bell is looked at instead.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    read: Kept,
    write: Kept,
    lost: Once,
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
        Ok(Self {
            rung: false.into(),
            read: Kept::new(read)?,
            write: Kept::new(write)?,
            lost: Once::new(),
            pid: getpid().as_raw().into(),
            waiting: Mutex::default(),
        })
    }

    /// From here on the bell is this process's, which is the daemon: `configure` may have made it
    /// in the starter.
    pub(crate) fn adopt(&self) {
        self.pid.store(getpid().as_raw(), Ordering::Release);
    }

    /// Rings in the process whose bell it is; `false` in another. Calls only what signal-safety(7)
    /// allows.
    pub(crate) fn ring(&self) -> bool {
        self.rung.store(true, Ordering::Release);
        let ours = self.pid.load(Ordering::Acquire) == getpid().as_raw();
        // Where nobody can read, there would be a SIGPIPE.
        if ours
            && self.read.find().is_some()
            && let Some(write) = self.write.find()
        {
            // A full pipe is as readable as one with a byte.
            _ = nix::unistd::write(write, &[0]);
        }
        ours
    }

    /// Whether it has rung.
    pub(crate) fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Forgets that it rang, if it did.
    pub(crate) fn reset(&self) -> bool {
        if let Some(read) = self.read.find() {
            let mut rings = [0; 64];
            while nix::unistd::read(read, &mut rings).is_ok_and(|count| count == rings.len()) {}
        }
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// Waits until it rings or has rung, a signal comes, or the time is up.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        if let Err(error) = self.listen(deadline) {
            self.lost.call_once(|| {
                let text = format!(
                    "{error}: its signals are noticed up to {} ms later",
                    LOOK.as_millis()
                );
                log::complain(&report::name(), &text);
            });
            self.look(deadline);
        }
    }

    fn listen(&self, deadline: Option<Instant>) -> io::Result<()> {
        // Without the other end, this one is always readable.
        self.write.get()?;
        match poll(
            &mut [PollFd::new(self.read.get()?, PollFlags::POLLIN)],
            timeout(deadline),
        ) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn look(&self, deadline: Option<Instant>) {
        while !self.has_rung() {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                break;
            }
            let next = now + LOOK;
            // A signal interrupts it, unlike a sleep.
            if poll(
                &mut [],
                timeout(Some(deadline.map_or(next, |deadline| deadline.min(next)))),
            )
            .is_err()
            {
                break;
            }
        }
    }

    /// Has a task woken when it rings. The first that waits starts a thread, which ends with the
    /// ring.
    pub(crate) fn wake(&'static self, context: &Context<'_>) {
        let mut waiting = self.waiting();
        if !waiting
            .tasks
            .iter()
            .any(|task| task.will_wake(context.waker()))
        {
            waiting.tasks.push(context.waker().clone());
        }
        if !waiting.watched {
            let watch = || {
                self.wait(None);
                let rung = std::mem::take(&mut *self.waiting());
                rung.tasks.into_iter().for_each(Waker::wake);
            };
            waiting.watched = std::thread::Builder::new()
                .name("signals".to_owned())
                .spawn(watch)
                .is_ok();
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

/// Rounded up, or the last millisecond would be spent asking; a wait beyond poll(2)'s longest is
/// cut short.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
