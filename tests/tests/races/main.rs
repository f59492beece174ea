//! Races, in rounds: many starters at once, start against stop against restart, and what comes at a
//! random moment.
//!
//! `DAEMON_TESTS_ROUNDS` says how many rounds (3); `DAEMON_TESTS_SEED` repeats the moments of a run
//! that failed, which each failure shows.
//!
//! | module | holds |
//! | --- | --- |
//! | `starters` | E20, E24: fifty starters over each kind of pidfile |
//! | `control` | E28: start against stop against restart |
//! | `replaced` | E23: the file is unlinked and replaced while starters want it |
//! | `reuse` | E25, E28: a stranger gets the number of the daemon that has just died |
//! | `exchanged` | E21, E22, E38: directories are exchanged between check and use |
//! | `moments` | E04, E14: signals and terminal hang-ups at random moments of the start |

mod control;
mod exchanged;
mod moments;
mod replaced;
mod reuse;
mod starters;

use std::env;
use std::fmt::Debug;
use std::str::FromStr;

use daemon_harness::{Gate, Launch, Proc, Running, Scene, Started};

/// A number in the environment.
fn number<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name)
        .ok()
        .map(|value| value.parse().expect("a number"))
}

/// How often each race is run.
fn rounds() -> usize {
    number("DAEMON_TESTS_ROUNDS").unwrap_or(3)
}

/// Moments and choices that the seed decides.
struct Dice(fastrand::Rng);

impl Dice {
    fn new() -> Self {
        let seed = number("DAEMON_TESTS_SEED").unwrap_or_else(|| fastrand::u64(..));
        eprintln!("DAEMON_TESTS_SEED={seed}");
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Below this number.
    fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        self.0.choice(choices).copied().expect("some choices")
    }
}

/// Starts all at the same moment. They are under way; the gate has to stay open for the last of
/// them.
fn at_once<'s>(scene: &'s Scene, launches: Vec<Launch<'s>>) -> (Gate, Vec<Running<'s>>) {
    let mut gate = scene.gate("gate");
    let waiting = launches
        .into_iter()
        .map(|launch| launch.behind(&gate).spawn())
        .collect();
    gate.open();
    (gate, waiting)
}

/// Those that succeeded, and the others.
fn outcomes((_gate, running): (Gate, Vec<Running<'_>>)) -> (Vec<Started>, Vec<Started>) {
    running
        .into_iter()
        .map(Running::wait)
        .partition(|started| started.status.success())
}

/// The process is in this system call, which strace delays.
fn is_in(process: &Proc, call: libc::c_long) -> bool {
    process.sleeps_in(&[call]).is_some()
}
