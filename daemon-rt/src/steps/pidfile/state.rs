//! The states of a pidfile that this process holds.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::unistd::{Pid, getpid};

/// The owner of the file. A process that the service forks has a copy of the state, and is not the
/// one with the pid in it.
///
/// | state | the file | is removed by | next state |
/// | --- | --- | --- | --- |
/// | `Locked(pid)` | names no process of this start yet | `pid`: the starter, or PID 1 | `Owned`, when the daemon has written its pid; in the starter `GivenUp`, when the daemon is ready |
/// | `Shared` | names an older instance, which shares the lock; this process from the commit on | the process that it names | `Owned`, when the restart is committed; `GivenUp`, if the next restart is faster |
/// | `Owned(pid)` | names `pid` | `pid` | `GivenUp`, when the next restart is committed |
/// | `GivenUp` | names a newer instance, or the starter's daemon | that process | none |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Locked(Pid),
    Shared,
    Owned(Pid),
    GivenUp,
}

/// The bits of a pid: on no system it has more than 22.
const PID_BITS: u32 = 28;

impl State {
    pub(super) fn encode(self) -> i32 {
        let (tag, pid) = match self {
            Self::Locked(pid) => (0, pid.as_raw()),
            Self::Shared => (1, 0),
            Self::Owned(pid) => (2, pid.as_raw()),
            Self::GivenUp => (3, 0),
        };
        (tag << PID_BITS) | pid
    }

    pub(super) fn decode(word: i32) -> Self {
        let pid = Pid::from_raw(word & ((1 << PID_BITS) - 1));
        match word >> PID_BITS {
            0 => Self::Locked(pid),
            1 => Self::Shared,
            2 => Self::Owned(pid),
            _ => Self::GivenUp,
        }
    }
}

/// A [`State`] in one word: a signal handler finds a state and the pid of that state.
pub(super) struct AtomicState(AtomicI32);

impl AtomicState {
    pub(super) fn new(state: State) -> Self {
        Self(state.encode().into())
    }

    pub(super) fn load(&self) -> State {
        State::decode(self.0.load(Ordering::Acquire))
    }

    /// Makes this process the owner, unless a newer instance is.
    pub(super) fn own(&self) {
        let owned = State::Owned(getpid()).encode();
        let next = |state| match State::decode(state) {
            State::GivenUp => None,
            _ => Some(owned),
        };
        _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Makes another process the owner.
    pub(super) fn give_up(&self) {
        self.0.store(State::GivenUp.encode(), Ordering::Release);
    }
}
