//! The starter: the process that a person, a shell or an init script started. It waits until the
//! daemon is ready, says what happened, and in a failed start leaves nothing behind.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(target_os = "linux")]
use nix::sys::prctl::set_child_subreaper;
#[cfg(target_vendor = "apple")]
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::wait::WaitPidFlag;
use nix::syslog::Severity;
use nix::unistd::{Pid, getsid};

use crate::control::handover;
use crate::error::{self, During, Error};
use crate::report::notify::notifier;
use crate::report::pipe::{Failure, Message, Receiver};
use crate::report::{log, text};
use crate::start::plan::Plan;
use crate::step::Step;
use crate::steps::{pidfile, signals};
use crate::sys::{self, Action, End, proc};

/// The exit status where `init` panicked is that of Rust's own runtime, 101; the following are the
/// starter's.
mod status {
    /// A hook called `exit(0)`, which says nothing of readiness.
    pub(super) const EXITED_WITH_0: u8 = 96;
    /// As timeout(1).
    pub(super) const TIMED_OUT: u8 = 124;
    /// As a shell: this and the number of the signal.
    pub(super) const KILLED: u8 = 128;
}

/// How long the killed may take to be gone.
const DYING: Duration = Duration::from_secs(1);

/// How long the starter stays awake once the intermediate process has gone: to wake it, on another
/// processor, takes longer than most daemons need until they are ready.
const AWAKE: Duration = Duration::from_micros(200);

/// What may interrupt a person's wait.
const INTERRUPTIONS: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// How long deaths are waited for once no process holds the other end of the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the zombies of orphans are looked for, at most. They are many where `init` is a
/// script, and to find them takes a walk over all children.
const SWEEP: Duration = Duration::from_millis(20);

/// The signals that came while the starter waited, a bit each.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// A child may have died since zombies were last looked for.
static DIED: AtomicBool = AtomicBool::new(false);

extern "C" fn catch(signal: libc::c_int) {
    CAUGHT.fetch_or(1 << signal, Ordering::Relaxed);
}

/// SIGCHLD ends the wait. Who has died is asked for each time.
extern "C" fn wake(_: libc::c_int) {
    DIED.store(true, Ordering::Relaxed);
}

pub(crate) struct Starter {
    limit: Option<Duration>,
    /// The signals that are heeded.
    watched: SigSet,
    /// What `configure` has made of SIGCHLD, for the daemon.
    at_death: Action,
    /// The starter had children before: they, and what they leave to it, are not the service's.
    had_children: bool,
    /// Whether the daemon is to replace an older instance.
    restarts: bool,
    /// The pidfile beside which the daemon binds its control socket.
    control: Option<PathBuf>,
    /// A progress line stands on the terminal.
    progress: bool,
}

/// How a start ended.
enum Outcome {
    Ready,
    Failed(Failure),
    Interrupted(Signal),
}

impl Starter {
    /// What has to be in place before the first fork: the signals wait for [`Self::wait`], and
    /// orphans of the daemon become the starter's, so that it learns how the daemon ended whoever
    /// still holds the pipe.
    pub(crate) fn prepare(plan: &Plan) -> Result<Self, Error> {
        let ignored = |signal: Signal| plan.still_ignored.contains(signal as libc::c_int);
        let mut watched = SigSet::empty();
        INTERRUPTIONS
            .into_iter()
            .filter(|&signal| !ignored(signal))
            .for_each(|signal| watched.add(signal));
        watched.add(Signal::SIGCHLD);
        watched
            .thread_block()
            .during(Step::ExitStarter, "the signals")?;
        #[cfg(target_os = "linux")]
        set_child_subreaper(true).during(Step::ExitStarter, "the daemon's orphans")?;
        // Before there is a child: where SIGCHLD is ignored, nobody learns how one has ended.
        let at_death =
            sys::handle_for_now(libc::SIGCHLD, wake).during(Step::ExitStarter, Signal::SIGCHLD)?;
        Ok(Self {
            limit: plan.start_timeout,
            watched,
            at_death,
            had_children: sys::has_children(),
            restarts: handover::is_restart(),
            control: plan.control_path().map(Path::to_path_buf),
            progress: false,
        })
    }

    /// In the daemon: gives up what is the starter's alone.
    pub(crate) fn give_up(&self) -> Result<(), Error> {
        if self.restarts {
            handover::keep_daemons_end();
        }
        sys::restore(libc::SIGCHLD, &self.at_death).during(Step::ResetSignals, Signal::SIGCHLD)
    }

    /// Step 15: waits for the outcome, and exits with the status that tells it.
    pub(crate) fn wait(mut self, intermediate: Pid, receiver: Receiver) -> ! {
        let mut start = Start {
            intermediate,
            left: None,
            daemon: None,
            receiver,
            silent: None,
            swept: Instant::now(),
        };
        let outcome = self
            .outcome(&mut start)
            .unwrap_or_else(|error| Outcome::Failed(error.into()));
        let outcome = match (outcome, start.daemon) {
            (Outcome::Ready, Some(daemon)) if self.restarts && handover::is_under_way() => {
                start.commit(daemon)
            }
            (outcome, _) => outcome,
        };
        self.clear_progress();
        if !matches!(outcome, Outcome::Ready) {
            start.end(self.had_children);
            pidfile::remove();
            self.control.as_deref().map(handover::clean_up);
        }
        match outcome {
            Outcome::Ready => {
                _ = sys::wait(intermediate, WaitPidFlag::empty());
                notifier().ready(start.daemon);
                // The manager accepts that from its own child only, which is about to end.
                notifier().barrier();
                self.see_off();
                sys::exit_now(0)
            }
            Outcome::Failed(failure) => {
                notifier().failed(&failure);
                log::print(Severity::LOG_ERR, &failure.text);
                sys::exit_now(failure.status)
            }
            Outcome::Interrupted(signal) => {
                log::print(
                    Severity::LOG_ERR,
                    &format!("interrupted by {signal} before the daemon was ready"),
                );
                sys::die_of(signal as libc::c_int);
                _ = signals::unblock_signals();
                sys::exit_now(status::KILLED + signal as u8)
            }
        }
    }

    /// After a restart with a hand-over: waits for the end of the old instance. Whoever does not
    /// want to wait for that can interrupt it as any other program: the service runs.
    fn see_off(&self) {
        if !self.restarts {
            return;
        }
        for signal in self.interruptions() {
            _ = sys::reset(signal as libc::c_int);
        }
        _ = signals::unblock_signals();
        if let Some(line) = handover::see_off() {
            log::print(Severity::LOG_WARNING, &line);
        }
    }

    fn outcome(&mut self, start: &mut Start) -> Result<Outcome, Error> {
        // One that lies beyond what the clock can tell never comes.
        let deadline = self
            .limit
            .and_then(|limit| Instant::now().checked_add(limit));
        for signal in self.interruptions() {
            sys::handle(signal as libc::c_int, catch).during(Step::ExitStarter, signal)?;
        }
        let (mut ready, mut failed) = (false, None);
        loop {
            // What is there when a time is over still counts.
            let timed_out = is_over(deadline);
            let heard_out = is_over(start.last_words());
            start.sleep(deadline)?;
            // The deaths first: what a process wrote before it died is then there to be read.
            let deaths = start.deaths()?;
            let heed = |message| match message {
                Message::Forked(pid) => start.daemon = Some(pid),
                Message::Progress(text) => self.show(&text),
                Message::Warning(text) => {
                    self.clear_progress();
                    log::print(Severity::LOG_WARNING, &text);
                }
                Message::Ready => ready = true,
                Message::Failed(failure) => failed = Some(failure),
            };
            start
                .receiver
                .read(heed)
                .during(Step::ExitStarter, "the pipe from the daemon")?;
            if let Some(failure) = failed {
                return Ok(Outcome::Failed(failure));
            }
            // A quick daemon may be ready before the intermediate process has told its pid. It may
            // also have done its work, and ended, before this process looks.
            let is_ready = ready && start.daemon.is_some();
            if is_ready && matches!(deaths.daemon, None | Some(End::Exited(0))) {
                return Ok(Outcome::Ready);
            }
            if let Some(failure) = deaths.failure(if is_ready {
                When::Ready
            } else {
                When::Starting
            }) {
                return Ok(Outcome::Failed(failure));
            }
            let caught = CAUGHT.load(Ordering::Relaxed);
            if let Some(signal) = self
                .interruptions()
                .find(|&signal| caught & (1 << signal as u64) != 0)
            {
                return Ok(Outcome::Interrupted(signal));
            }
            if let (true, Some(limit)) = (timed_out, self.limit) {
                let text = format!("not ready within {limit:?}: the daemon was killed");
                return Ok(Outcome::Failed(Failure {
                    status: status::TIMED_OUT,
                    errno: None,
                    text,
                }));
            }
            if heard_out {
                return Ok(Outcome::Failed(unheard()));
            }
            start.note_silence();
            start.reap_orphans(self.had_children);
        }
    }

    fn interruptions(&self) -> impl Iterator<Item = Signal> {
        INTERRUPTIONS
            .into_iter()
            .filter(|&signal| self.watched.contains(signal))
    }

    /// Shows what the daemon is doing, where a person reads it: in one line of a terminal, else a
    /// line each.
    fn show(&mut self, text: &str) {
        notifier().progress(text);
        let text: String = text
            .chars()
            .map(|c| if text::is_unprintable(c) { ' ' } else { c })
            .collect();
        self.progress = io::stderr().is_terminal();
        let (name, (before, after)) = (
            log::name(),
            if self.progress {
                ("\r\x1b[K", "")
            } else {
                ("", "\n")
            },
        );
        write_at_once(&format!("{before}{name}: {text}{after}"), self.progress);
    }

    fn clear_progress(&mut self) {
        if std::mem::take(&mut self.progress) {
            write_at_once("\r\x1b[K", true);
        }
    }
}

/// Writes what standard error takes without waiting. A terminal that is stopped, or a pipe that
/// nobody reads, misses it.
fn write_at_once(text: &str, on_terminal: bool) {
    let stderr = io::stderr();
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if !poll(&mut room, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        return;
    }
    // A terminal may have room, but too little. Opened once more, it can be asked not to wait for
    // more.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let terminal = || {
        OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open("/dev/fd/2")
    };
    _ = match on_terminal.then(terminal) {
        Some(Ok(mut terminal)) => terminal.write(text.as_bytes()).map(drop),
        _ => stderr.lock().write_all(text.as_bytes()),
    };
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// The processes of one start.
struct Start {
    /// The session leader. It stays a zombie until the end, so that its process group can be killed
    /// safely: no other can get its number.
    intermediate: Pid,
    /// When it was seen that it has left the daemon to itself.
    left: Option<Instant>,
    daemon: Option<Pid>,
    receiver: Receiver,
    /// When it was seen that no process holds the other end of the pipe.
    silent: Option<Instant>,
    /// When zombies were last looked for.
    swept: Instant,
}

/// How the processes of a start have ended, as far as they have.
struct Deaths {
    /// Left out where it ended as it should.
    intermediate: Option<End>,
    daemon: Option<End>,
}

/// When a process has died, which is too early.
#[derive(Clone, Copy)]
enum When {
    Starting,
    /// The daemon has announced that it is ready, but the starter has not yet said so.
    Ready,
}

impl Deaths {
    fn failure(&self, when: When) -> Option<Failure> {
        match (self.intermediate, self.daemon) {
            (Some(end), _) => Some(cause("the intermediate process", end, when)),
            (None, Some(end)) => Some(cause("the daemon", end, when)),
            (None, None) => None,
        }
    }
}

impl Start {
    /// Ends a restart: the new instance, if it still lives, takes the service over.
    fn commit(&mut self, daemon: Pid) -> Outcome {
        match self.deaths().map(|deaths| deaths.failure(When::Ready)) {
            Ok(Some(failure)) => Outcome::Failed(failure),
            Err(error) => Outcome::Failed(error.into()),
            Ok(None) => match handover::commit(daemon) {
                Ok(()) => Outcome::Ready,
                Err(error) => {
                    Outcome::Failed(Error::step(Step::WritePidfile, "the restart", error).into())
                }
            },
        }
    }

    /// Who has died too early.
    fn deaths(&mut self) -> Result<Deaths, Error> {
        let end_of = |pid| match sys::wait(pid, WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG) {
            // Not this process's child yet: the intermediate process has not ended.
            Err(Errno::ECHILD) => Ok(None),
            result => result.during(Step::ExitStarter, format_args!("process {pid}")),
        };
        let mut intermediate = end_of(self.intermediate)?;
        if intermediate == Some(End::Exited(0)) {
            self.left.get_or_insert_with(Instant::now);
            intermediate = None;
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
    fn last_words(&self) -> Option<Instant> {
        Some(self.silent? + LAST_WORDS)
    }

    fn note_silence(&mut self) {
        if self.receiver.ended() {
            self.silent.get_or_insert_with(Instant::now);
        }
    }

    /// When zombies are to be looked for next.
    fn next_sweep(&self) -> Option<Instant> {
        if DIED.load(Ordering::Relaxed) {
            Some(self.swept + SWEEP)
        } else {
            None
        }
    }

    /// Takes away the zombies of orphans, which count against limits of processes. The daemon's
    /// stays, to be looked at.
    fn reap_orphans(&mut self, had_children: bool) {
        // Before its number is told, the daemon could be taken for one.
        if self.daemon.is_none() || !is_over(self.next_sweep()) {
            return;
        }
        DIED.store(false, Ordering::Relaxed);
        self.swept = Instant::now();
        for pid in self.orphans(had_children) {
            if Some(pid) != self.daemon {
                _ = sys::wait(pid, WaitPidFlag::WNOHANG);
            }
        }
    }

    /// Waits for a message, a death, an interruption or the next time at which there is something
    /// to do.
    fn sleep(&self, deadline: Option<Instant>) -> Result<(), Error> {
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
        let next = [deadline, self.last_words(), self.next_sweep()]
            .into_iter()
            .flatten()
            .min();
        look(next.map(|next| next.saturating_duration_since(Instant::now()))).map(drop)
    }

    /// Ends the daemon and all that it has started, and waits until it is gone.
    fn end(&self, had_children: bool) {
        // Before setsid(2) there is no group of that number, and nothing else yet either.
        _ = kill(self.intermediate, Signal::SIGKILL);
        _ = sys::wait(self.intermediate, WaitPidFlag::WNOWAIT);
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
        errno: None,
        text: format!("cannot start: {who} {how} {words}{guess}"),
    }
}

/// What may have happened where a daemon exits before it is ready, and has not said why.
fn guess(code: u8) -> String {
    let steps = error::status_of(Step::CloseDescriptors)..=error::status_of(Step::ExitStarter);
    if code == 0 {
        ": a hook has called exit(0), or has forked and ended, as daemon(3) does".to_owned()
    } else if code == error::status_of(Step::Notify) {
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

/// No process holds the other end of the pipe, and no death was seen.
fn unheard() -> Failure {
    let how = "the daemon has closed the pipe to the starter, or has executed another program, before it was ready";
    Error::step(
        Step::ExitStarter,
        "it was not heard of any more",
        io::Error::other(how),
    )
    .into()
}
