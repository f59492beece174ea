//! The processes of a start, as the starter sees them.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
#[cfg(target_vendor = "apple")]
use nix::poll::{PollTimeout, poll};
#[cfg(target_vendor = "apple")]
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{Pid, getsid};

use crate::error::{During, Error, Failure};
use crate::report::pipe::Receiver;
use crate::status;
use crate::step::Step;
use crate::sys::{self, Action, End, proc};

/// How long the killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// How long the log's writer may take to write what a failed daemon has said.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long the starter stays awake once the intermediate process has gone: to wake it, on another
/// processor, takes longer than most daemons need until they are ready.
const AWAKE: Duration = Duration::from_micros(200);

/// How long deaths are waited for once no process holds the other end of the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long after a death the zombies of orphans are looked for. They are many where `init` is a
/// script, and to find them takes a walk over all children.
const SWEEP: Duration = Duration::from_millis(20);

/// The same after the death of the intermediate process, which is no orphan's. One that came with
/// it can wait.
const FIRST_SWEEP: Duration = Duration::from_secs(1);

/// A child has died.
static DIED: AtomicBool = AtomicBool::new(false);

/// Has SIGCHLD end the wait. To be called before there is a child: where SIGCHLD is ignored, it
/// cannot be learnt how one has ended. Returns what is to be restored in the daemon.
pub(super) fn watch_deaths() -> nix::Result<Action> {
    sys::handle_for_now(libc::SIGCHLD, wake)
}

/// SIGCHLD ends the wait. Who has died is asked for each time.
extern "C" fn wake(_: libc::c_int) {
    DIED.store(true, Ordering::Relaxed);
}
/// The processes of one start.
pub(super) struct Start {
    /// The session leader. It stays a zombie until the end, so that its process group can be killed
    /// safely: no other can get its number.
    intermediate: Pid,
    /// When it was seen that it has left the daemon to itself.
    left: Option<Instant>,
    pub(super) daemon: Option<Pid>,
    pub(super) receiver: Receiver,
    /// When it was seen that no process holds the other end of the pipe.
    silent: Option<Instant>,
    /// When zombies are to be looked for, if a child may have died.
    sweep: Option<Instant>,
    /// The SIGCHLD of the intermediate process is still to come, although its end has been seen.
    signal_is_due: bool,
}

/// How the processes of a start have ended, as far as they have.
pub(super) struct Deaths {
    /// Left out where it ended as it should.
    intermediate: Option<End>,
    pub(super) daemon: Option<End>,
}

/// When a process has died, which is too early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Starting,
    /// The daemon has announced that it is ready, but the starter has not yet said so.
    Ready,
}

impl Deaths {
    pub(super) fn failure(&self, when: When) -> Option<Failure> {
        match (self.intermediate, self.daemon) {
            (Some(end), _) => Some(cause("the intermediate process", end, when)),
            (None, Some(end)) => Some(cause("the daemon", end, when)),
            (None, None) => None,
        }
    }
}

impl Start {
    pub(super) fn new(intermediate: Pid, receiver: Receiver) -> Self {
        Self {
            intermediate,
            left: None,
            daemon: None,
            receiver,
            silent: None,
            sweep: None,
            signal_is_due: false,
        }
    }

    /// Who has died too early.
    pub(super) fn deaths(&mut self) -> Result<Deaths, Error> {
        let end_of = |pid| match sys::wait(pid, WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG) {
            // Not this process's child yet: the intermediate process has not ended.
            Err(Errno::ECHILD) => Ok(None),
            result => result.during(Step::ExitStarter, format_args!("process {pid}")),
        };
        let died = DIED.swap(false, Ordering::Relaxed);
        let mut intermediate = None;
        if self.left.is_none() {
            intermediate = end_of(self.intermediate)?;
        }
        if intermediate == Some(End::Exited(0)) {
            let now = Instant::now();
            self.left = Some(now);
            self.sweep = Some(now + FIRST_SWEEP);
            self.signal_is_due = !died;
            intermediate = None;
        } else if died && !mem::take(&mut self.signal_is_due) {
            self.sweep_soon();
        }
        let daemon = match self.daemon {
            Some(daemon) => end_of(daemon)?,
            None => None,
        };
        Ok(Deaths {
            intermediate,
            daemon,
        })
    }

    /// Until when deaths are waited for where nobody can say anything any more.
    pub(super) fn last_words(&self) -> Option<Instant> {
        Some(self.silent? + LAST_WORDS)
    }

    pub(super) fn note_silence(&mut self) {
        if self.receiver.ended() {
            self.silent.get_or_insert_with(Instant::now);
        }
    }

    fn sweep_soon(&mut self) {
        let soon = Instant::now() + SWEEP;
        if self.sweep.is_none_or(|sweep| soon < sweep) {
            self.sweep = Some(soon);
        }
    }

    /// Takes away the zombies of orphans, which count against limits of processes. The daemon's
    /// stays, to be looked at.
    pub(super) fn reap_orphans(&mut self, had_children: bool) {
        // Before its number is told, the daemon could be taken for one.
        if self.daemon.is_none() || !is_over(self.sweep) {
            return;
        }
        self.sweep = None;
        for pid in self.orphans(had_children) {
            if Some(pid) != self.daemon {
                _ = sys::wait(pid, WaitPidFlag::WNOHANG);
            }
        }
    }

    /// Waits for a message, a death, an interruption or the next time at which there is something
    /// to do.
    pub(super) fn sleep(&self, deadline: Option<Instant>) -> Result<(), Error> {
        // At its end the pipe says no more.
        let mut pipe = [PollFd::new(self.receiver.as_fd(), PollFlags::POLLIN)];
        let pipe = if self.receiver.ended() {
            &mut []
        } else {
            &mut pipe[..]
        };
        let mut look = |limit| match wait_unblocked(pipe, limit) {
            Err(Errno::EINTR) => Ok(1),
            result => result.during(Step::ExitStarter, "the pipe from the daemon"),
        };
        while self.left.is_some_and(|left| left.elapsed() < AWAKE) {
            if look(Some(Duration::ZERO))? > 0 {
                return Ok(());
            }
            std::thread::yield_now();
        }
        let next = [deadline, self.last_words(), self.sweep]
            .into_iter()
            .flatten()
            .min();
        look(next.map(|next| next.saturating_duration_since(Instant::now()))).map(drop)
    }

    /// Ends the daemon and all that it has started, and waits until it is gone.
    pub(super) fn end(&self, had_children: bool, has_writer: bool) {
        // Before setsid(2) there is no group of that number, and nothing else yet either.
        _ = kill(self.intermediate, Signal::SIGKILL);
        _ = sys::wait(self.intermediate, WaitPidFlag::WNOWAIT);
        if has_writer {
            self.let_writer_end(had_children);
        }
        let mut immortal = Vec::new();
        loop {
            _ = killpg(self.intermediate, Signal::SIGKILL);
            let orphans: Vec<Pid> = self
                .orphans(had_children)
                .into_iter()
                .filter(|pid| !immortal.contains(pid))
                .collect();
            if orphans.is_empty() {
                break;
            }
            for pid in orphans {
                // What has become another user's by a set-uid program cannot be ended by an
                // ordinary user.
                if kill(pid, Signal::SIGKILL).is_err()
                    || sys::wait(pid, WaitPidFlag::empty()).is_err()
                {
                    immortal.push(pid);
                }
            }
        }
        // Without /proc only the daemon was found: the others of the group are dying, immortals
        // excepted.
        let began = Instant::now();
        while sys::reap_of_group(self.intermediate) && began.elapsed() < DYING {
            std::thread::sleep(DYING / 1000);
        }
        _ = sys::wait(self.intermediate, WaitPidFlag::empty());
    }

    /// Ends the daemon, whose last words are then in the pipe to the log's writer, and waits until
    /// that has ended, too: it has a session of its own.
    fn let_writer_end(&self, had_children: bool) {
        _ = killpg(self.intermediate, Signal::SIGKILL);
        let began = Instant::now();
        while began.elapsed() < LAST_LINES && self.has_other_sessions(had_children) {
            std::thread::sleep(LAST_LINES / 1000);
        }
    }

    fn has_other_sessions(&self, had_children: bool) -> bool {
        let mut orphans = self.orphans(had_children).into_iter();
        orphans.any(|pid| {
            let end = sys::wait(pid, WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG);
            end == Ok(None) && getsid(Some(pid)) != Ok(self.intermediate)
        })
    }

    /// The daemon and the orphans of it that the starter has adopted. Each is a child of this
    /// process, whatever the number means to who told it: it cannot become a stranger's before it
    /// is reaped.
    fn orphans(&self, had_children: bool) -> Vec<Pid> {
        let children = proc::children().unwrap_or_else(|| self.daemon.into_iter().collect());
        let ours = |&pid: &Pid| {
            pid != self.intermediate
                && sys::is_child(pid)
                && (!had_children || getsid(Some(pid)) == Ok(self.intermediate))
        };
        children.into_iter().filter(ours).collect()
    }
}

/// Waits with all signals let through, which makes the ones that came before count as well.
#[cfg(not(target_vendor = "apple"))]
fn wait_unblocked(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> nix::Result<i32> {
    // A 32-bit time_t cannot tell every limit. Whoever waits for longer than a day looks again
    // then.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    nix::poll::ppoll(
        fds,
        limit.map(|limit| limit.min(LONGEST).into()),
        Some(SigSet::empty()),
    )
}

/// macOS has no ppoll(2): a signal that comes between is noticed after the pause.
#[cfg(target_vendor = "apple")]
fn wait_unblocked(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> nix::Result<i32> {
    const PAUSE: Duration = Duration::from_millis(100);
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let result = poll(
        fds,
        PollTimeout::try_from(limit.unwrap_or(PAUSE).min(PAUSE)).unwrap_or(PollTimeout::ZERO),
    );
    blocked.thread_set_mask()?;
    result
}

/// The status and the words for an early death.
fn cause(who: &str, end: End, when: When) -> Failure {
    let (status, how) = match end {
        End::Exited(0) => (status::EXITED_WITH_0, "exited with status 0".to_owned()),
        End::Exited(code) => (code, format!("exited with status {code}")),
        End::Killed { signal, core } => {
            let name = Signal::try_from(signal)
                .map_or_else(|_| String::new(), |name| format!(" ({name})"));
            let core = if core { ", core dumped" } else { "" };
            let status = u8::try_from(signal)
                .map_or(u8::MAX, |signal| status::KILLED.saturating_add(signal));
            (status, format!("was killed by signal {signal}{name}{core}"))
        }
    };
    let words = match when {
        When::Starting => "before it was ready",
        When::Ready => "when it had just become ready",
    };
    let guess = match (when, end) {
        (When::Starting, End::Exited(code)) => guess(code),
        _ => String::new(),
    };
    Failure {
        status,
        kind: None,
        errno: None,
        text: format!("cannot start: {who} {how} {words}{guess}"),
    }
}

/// What may have happened where a daemon exits before it is ready, and has not said why.
fn guess(code: u8) -> String {
    let steps = status::of_step(Step::CloseDescriptors)..=status::of_step(Step::ExitStarter);
    if code == 0 {
        ": a hook has called exit(0), or has forked and ended, as daemon(3) does".to_owned()
    } else if code == status::of_step(Step::Notify) {
        format!(
            ": a hook has closed or replaced the pipe to the starter, or has called exit({code})"
        )
    } else if steps.contains(&code) {
        format!(
            ": a hook has closed or replaced descriptors of this library, or has called exit({code}); its own words are in \
             the stderr log, or in the system log"
        )
    } else {
        String::new()
    }
}

/// Whether the time is up.
pub(super) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}
