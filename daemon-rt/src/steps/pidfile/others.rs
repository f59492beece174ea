//! Other starts that are under way, and how this one deals with them.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::holder::{Holder, Phase};
use super::marks;
use crate::error::Error;

/// The most other starts that are waited for: if all of them fail, so would one more.
const MOST: u8 = 3;
/// The time after which a start that is waited for is looked at again: it may have died, and have
/// left its lock to a child.
const LOOK: Duration = Duration::from_secs(1);
/// The time for which a busy lock is tried again if its holder is unknown: a prober may have it for
/// a moment, and the winner of a race needs a moment to write its pid.
pub(super) const BUSY: Duration = Duration::from_secs(1);
/// The time for a start to write its pid after it has taken the lock. It has little to do between
/// the two, but a machine may be slow.
const NAMING: Duration = Duration::from_secs(60);

/// The answer of a start to an instance that holds the pidfile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It fails at once.
    Fail,
    /// It waits until the other one is ready, and fails then.
    WaitAndFail,
    /// It waits until the other one is ready, and leaves the service to it.
    WaitAndLeave,
}

/// The other starts, as far as this one has seen them.
pub(crate) struct Others {
    policy: Policy,
    deadline: Option<Instant>,
    /// The one that was waited for last.
    last: Cell<Option<Pid>>,
    /// The number of those that were waited for.
    seen: Cell<u8>,
}

impl Others {
    /// Begins with none seen. They are waited for until this time is over.
    pub(crate) fn new(policy: Policy, limit: Option<Duration>) -> Self {
        let deadline = match limit {
            // A time beyond the clock's range never comes.
            Some(limit) => Instant::now().checked_add(limit),
            None => None,
        };
        Self {
            policy,
            deadline,
            last: Cell::new(None),
            seen: Cell::new(0),
        }
    }

    /// Waits for the holder of this pidfile, if it is starting and the policy is to wait. Returns
    /// `true` if the file must be looked at again.
    pub(super) fn wait_for(&self, holder: Holder, file: BorrowedFd<'_>) -> bool {
        let Some(pid) = starting(holder) else {
            return false;
        };
        if self.policy == Policy::Fail || self.is_too_late() {
            return false;
        }
        if self.last.replace(Some(pid)) != Some(pid) {
            if self.seen.get() == MOST {
                return false;
            }
            self.seen.set(self.seen.get() + 1);
        }
        let look = Instant::now() + LOOK;
        marks::wait_while_starting(file, self.deadline.unwrap_or(look).min(look));
        true
    }

    /// Checks whether this start goes on to wait for the pid of another one, which has not been there
    /// since then.
    pub(super) fn wait_for_pid(&self, since: Instant) -> bool {
        match self.policy {
            Policy::Fail => since.elapsed() <= BUSY,
            Policy::WaitAndFail | Policy::WaitAndLeave => {
                since.elapsed() <= NAMING && !self.is_too_late()
            }
        }
    }

    fn is_too_late(&self) -> bool {
        match self.deadline {
            Some(deadline) => deadline <= Instant::now(),
            None => false,
        }
    }

    /// Leaves the service to this holder, if it is ready and the policy is to leave it.
    ///
    /// # Errors
    /// The start fails: another instance runs, or is still starting.
    pub(super) fn leave_to(&self, holder: Holder, path: &Path) -> Result<(), Error> {
        match (self.policy, holder) {
            (
                Policy::WaitAndLeave,
                Holder::Main(_, Phase::Ready)
                | Holder::Elsewhere(_, Phase::Ready)
                | Holder::WithoutFile(_),
            ) => Ok(()),
            (
                Policy::WaitAndLeave | Policy::WaitAndFail,
                Holder::Main(_, Phase::Starting) | Holder::Elsewhere(_, Phase::Starting),
            ) => Err(Error::still_starting(holder, path)),
            _ => Err(Error::already_running(holder, path)),
        }
    }
}

/// The process, if it is starting.
fn starting(holder: Holder) -> Option<Pid> {
    match holder {
        Holder::Main(pid, Phase::Starting) | Holder::Elsewhere(pid, Phase::Starting) => Some(pid),
        _ => None,
    }
}
