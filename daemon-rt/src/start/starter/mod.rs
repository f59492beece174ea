//! The starter: the process that a person, a shell or an init script started. It waits until the
//! daemon is ready, says what happened, and in a failed start leaves nothing behind.

mod processes;
mod progress;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
#[cfg(target_os = "linux")]
use nix::sys::prctl::set_child_subreaper;
#[cfg(target_vendor = "apple")]
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::WaitPidFlag;
use nix::syslog::Severity;
use nix::unistd::Pid;

use self::processes::{Deaths, Start, When, is_over};
use self::progress::Progress;
use crate::control::handover::{self, Restarter};
use crate::error::{During, Error, ErrorKind, Failure};
use crate::hooks::LastWord;
use crate::report::notify::notifier;
use crate::report::pipe::{Message, Receiver};
use crate::report::{self, log};
use crate::start::plan::Plan;
use crate::started::Started;
use crate::status;
use crate::step::Step;
use crate::steps::{pidfile, signals, writer};
use crate::sys::{self, Action, End};

/// What may interrupt a person's wait.
const INTERRUPTIONS: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// The signals that came while the starter waited, a bit each.
static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn catch(signal: libc::c_int) {
    CAUGHT.fetch_or(1 << signal, Ordering::Relaxed);
}

pub(crate) struct Starter {
    limit: Option<Duration>,
    /// The signals that are heeded.
    watched: SigSet,
    /// What `configure` has made of SIGCHLD, for the daemon.
    at_death: Action,
    /// The starter had children before: they, and what they leave to it, are not the service's.
    had_children: bool,
    /// A log has a writer, which is to end by itself.
    has_writer: bool,
    /// The pidfile beside which the daemon binds its control socket.
    control: Option<PathBuf>,
    says_outcome: bool,
    progress: Progress,
}

/// How a start ended.
enum Outcome {
    Ready,
    Failed(Failure),
    Interrupted(Signal),
}

/// What the daemon has said of its start.
#[derive(Default)]
struct Heard {
    ready: bool,
    failure: Option<Failure>,
}

impl Heard {
    /// The outcome, as far as words and deaths tell it.
    fn outcome(&mut self, deaths: &Deaths, daemon: Option<Pid>) -> Option<Outcome> {
        if let Some(failure) = self.failure.take() {
            return Some(Outcome::Failed(failure));
        }
        // A quick daemon may be ready before the intermediate process has told its pid. It may also
        // have done its work, and ended, before this process looks.
        let when = if self.ready && daemon.is_some() {
            When::Ready
        } else {
            When::Starting
        };
        if when == When::Ready && matches!(deaths.daemon, None | Some(End::Exited(0))) {
            return Some(Outcome::Ready);
        }
        deaths.failure(when).map(Outcome::Failed)
    }
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
        let at_death = processes::watch_deaths().during(Step::ExitStarter, Signal::SIGCHLD)?;
        Ok(Self {
            limit: plan.start_timeout,
            watched,
            at_death,
            had_children: sys::has_children(),
            has_writer: writer::is_wanted(&plan.logs),
            control: plan.control_path().map(Path::to_path_buf),
            says_outcome: plan.says_outcome,
            progress: Progress::default(),
        })
    }

    /// Gives up what is the starter's alone: in the daemon, and in the starter when it has done its
    /// work.
    #[inline]
    pub(crate) fn give_up(&self) -> Result<(), Error> {
        sys::restore(libc::SIGCHLD, &self.at_death).during(Step::ResetSignals, Signal::SIGCHLD)
    }

    /// Step 15: waits for the outcome, and exits with the status that tells it.
    pub(crate) fn wait(
        mut self,
        intermediate: Pid,
        receiver: Receiver,
        mut restart: Option<Restarter>,
        started: Option<LastWord<'_>>,
    ) -> ! {
        let mut start = Start::new(intermediate, receiver);
        let outcome = self
            .outcome(&mut start)
            .unwrap_or_else(|error| Outcome::Failed(error.into()));
        let outcome = match (outcome, start.daemon, &mut restart) {
            (Outcome::Ready, Some(daemon), Some(restart)) if restart.hands_over() => {
                commit(restart, &mut start, daemon)
            }
            (outcome, _, _) => outcome,
        };
        self.progress.clear();
        if !matches!(outcome, Outcome::Ready) {
            start.end(self.had_children, self.has_writer);
            pidfile::remove();
            if let Some(pidfile) = &self.control {
                handover::clean_up(pidfile, restart.as_ref());
            }
        }
        match outcome {
            Outcome::Ready => {
                _ = sys::wait(intermediate, WaitPidFlag::empty());
                self.take_leave(start.daemon, restart, started);
                sys::exit_now(0)
            }
            Outcome::Failed(failure) => {
                let failure = report::with_own_status(failure);
                notifier().failed(&failure);
                self.heed_signals();
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

    /// Tells everyone that the service runs. The program has the last word.
    fn take_leave(
        &self,
        daemon: Option<Pid>,
        restart: Option<Restarter>,
        started: Option<LastWord<'_>>,
    ) {
        notifier().ready(daemon);
        // The manager accepts that from its own child only, which is about to end.
        notifier().barrier();
        if restart.is_some() || started.is_some() || self.says_outcome {
            self.step_back();
        }
        if let (true, Some(pid)) = (self.says_outcome, daemon) {
            let verb = match &restart {
                Some(restart) => restart.verb(),
                None => "started",
            };
            log::say(&format!("{verb}: pid {pid}"));
        }
        if let Some(restart) = restart {
            see_off(restart);
        }
        if let (Some(hook), Some(daemon)) = (started, daemon) {
            say_last(hook, daemon);
        }
    }

    /// Makes this process one like any other, since the service runs: what it still does can be
    /// interrupted, the pidfile stays when it ends, and another start need not wait for that.
    fn step_back(&self) {
        pidfile::disown();
        _ = self.give_up();
        self.heed_signals();
        // One that came when the daemon had just become ready.
        if let Some(signal) = self.interruption() {
            sys::die_of(signal as libc::c_int);
        }
    }

    /// What is printed from here on may have to wait for its reader: a signal ends that.
    fn heed_signals(&self) {
        for signal in self.interruptions() {
            _ = sys::reset(signal as libc::c_int);
        }
        _ = signals::unblock_signals();
    }

    fn outcome(&mut self, start: &mut Start) -> Result<Outcome, Error> {
        // One that lies beyond what the clock can tell never comes.
        let deadline = match self.limit {
            Some(limit) => Instant::now().checked_add(limit),
            None => None,
        };
        for signal in self.interruptions() {
            sys::handle(signal as libc::c_int, catch).during(Step::ExitStarter, signal)?;
        }
        let mut heard = Heard::default();
        loop {
            // What is there when a time is over still counts.
            let timed_out = is_over(deadline);
            let heard_out = is_over(start.last_words());
            start.sleep(deadline)?;
            // The deaths first: what a process wrote before it died is then there to be read.
            let deaths = start.deaths()?;
            self.listen(start, &mut heard)?;
            if let Some(outcome) = heard.outcome(&deaths, start.daemon) {
                return Ok(outcome);
            }
            if let Some(signal) = self.interruption() {
                return Ok(Outcome::Interrupted(signal));
            }
            if let (true, Some(limit)) = (timed_out, self.limit) {
                return Ok(Outcome::Failed(late(limit)));
            }
            if heard_out {
                return Ok(Outcome::Failed(unheard()));
            }
            start.note_silence();
            start.reap_orphans(self.had_children);
        }
    }

    /// Reads what the daemon has said, and shows what is for the person who waits.
    fn listen(&mut self, start: &mut Start, heard: &mut Heard) -> Result<(), Error> {
        let on_message = |message| match message {
            Message::Forked(pid) => start.daemon = Some(pid),
            Message::Progress(text) => self.progress.show(&text),
            Message::Warning(text) => {
                self.progress.clear();
                log::print(Severity::LOG_WARNING, &text);
            }
            Message::Ready => heard.ready = true,
            Message::Failed(failure) => heard.failure = Some(failure),
        };
        start
            .receiver
            .read(on_message)
            .during(Step::ExitStarter, "the pipe from the daemon")
    }

    /// The signal that has come, if one has.
    fn interruption(&self) -> Option<Signal> {
        let caught = CAUGHT.load(Ordering::Relaxed);
        self.interruptions()
            .find(|&signal| caught & (1 << signal as u32) != 0)
    }

    fn interruptions(&self) -> impl Iterator<Item = Signal> {
        INTERRUPTIONS
            .into_iter()
            .filter(|&signal| self.watched.contains(signal))
    }
}

/// After a restart with a hand-over: waits for the end of the old instance.
fn see_off(restart: Restarter) {
    if let Err(problem) = restart.see_off() {
        log::print(Severity::LOG_WARNING, &problem);
    }
}

/// Runs the hook `started`. A panic in it is told by the panic hook: the start has succeeded.
fn say_last(hook: LastWord<'_>, daemon: Pid) {
    let started = Started {
        pid: sys::id_of(daemon),
        already_running: false,
    };
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| hook(&started))) {
        // It might panic where it is dropped.
        std::mem::forget(payload);
    }
    log::flush();
}

/// Ends a restart: the new instance, if it still lives, takes the service over.
fn commit(restart: &mut Restarter, start: &mut Start, daemon: Pid) -> Outcome {
    match start.deaths().map(|deaths| deaths.failure(When::Ready)) {
        Ok(Some(failure)) => Outcome::Failed(failure),
        Err(error) => Outcome::Failed(error.into()),
        Ok(None) => match restart.commit(daemon) {
            Ok(()) => Outcome::Ready,
            Err(error) => {
                Outcome::Failed(Error::step(Step::WritePidfile, "the restart", error).into())
            }
        },
    }
}

/// The start has taken longer than it may.
fn late(limit: Duration) -> Failure {
    Failure {
        status: status::TIMED_OUT,
        kind: Some(ErrorKind::TimedOut),
        errno: None,
        text: format!("not ready within {limit:?}: the daemon was killed"),
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
