//! The tasks that wait for what comes once.
//!
//! A task does not say that it waits no longer: it has ended, or its `select!` has taken another
//! branch. So as many as there have been are woken now and then, and forgotten. Those that still wait
//! ask again.

use std::collections::BTreeMap;
use std::mem;
use std::ptr;
use std::task::Waker;
use std::time::{Duration, Instant};

/// How many tasks there are at least before any is forgotten.
const FEW: usize = 64;

/// By then the tasks that were woken have asked again, unless the machine is very busy.
const ROUND: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Tasks {
    /// By their data and their functions.
    wakers: BTreeMap<(usize, usize), Waker>,
    /// More are not kept without asking who still waits.
    limit: usize,
    /// When they were woken for that, until it is known who still waits.
    asked: Option<Instant>,
}

/// To be woken when no lock is held: what a task does then may take it.
#[must_use]
pub(crate) struct Wakers(BTreeMap<(usize, usize), Waker>);

impl Tasks {
    pub(crate) const fn new() -> Self {
        Self {
            wakers: BTreeMap::new(),
            limit: FEW,
            asked: None,
        }
    }

    /// Adds a task, if it is not there. Returns those that have to ask again.
    pub(crate) fn add(&mut self, waker: &Waker) -> Wakers {
        let id = (waker.data().addr(), ptr::from_ref(waker.vtable()).addr());
        let mut forgotten = BTreeMap::new();
        if !self.wakers.contains_key(&id) {
            if self.is_full() {
                self.asked = Some(Instant::now());
                forgotten = mem::take(&mut self.wakers);
            }
            self.wakers.insert(id, waker.clone());
        }
        Wakers(forgotten)
    }

    fn is_full(&mut self) -> bool {
        if let Some(asked) = self.asked {
            if asked.elapsed() < ROUND {
                return false;
            }
            self.asked = None;
            self.limit = FEW + 2 * self.wakers.len();
        }
        self.wakers.len() >= self.limit
    }

    pub(crate) fn take(&mut self) -> Wakers {
        Wakers(mem::take(&mut self.wakers))
    }
}

impl Wakers {
    pub(crate) fn wake(self) {
        for waker in self.0.into_values() {
            waker.wake();
        }
    }
}
