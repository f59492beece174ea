//! The start, from the first line of `main` to its last: what comes before the mode is known, and
//! what comes after.

mod detach;
mod foreground;
mod main_loop;
pub(crate) mod pid1;
pub(crate) mod plan;
#[cfg_attr(not(target_os = "linux"), path = "relay_none.rs")]
mod relay;
mod starter;

use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::control::handover::Restart;
use crate::control::keeper;
#[cfg(all(feature = "cli", target_os = "linux"))]
use crate::control::keeper::unit_start;
use crate::daemon::{AlreadyRunning, Daemon, Mode, Replacement};
use crate::error::{Error, ErrorKind, Failure};
use crate::hooks::{Service, Stages, run};
use crate::manager::detect::Invocation;
use crate::report::{self, log};
use crate::service::listen;
use crate::start::plan::{Draft, MissingPlaces, Plan};
use crate::status;
use crate::step::Step;
use crate::steps::descriptors;
use crate::steps::pidfile::Policy;
use crate::sys::{
    self, Anywhere, In, InheritedEnvironment, Late, SingleThreaded, Start, StartOfMain, proc,
};

/// Set when a start begins: a process makes one.
static BEGUN: AtomicBool = AtomicBool::new(false);

#[allow(unsafe_code)]
impl Daemon {
    /// Starts the service and runs it to its end, from anywhere in a program with a single thread.
    ///
    /// In the process that the person started it returns only if the service stays in the
    /// foreground; otherwise that process ends here, when the daemon is ready or has failed, with
    /// the status that says which. In the daemon it returns the exit status of the main loop, for
    /// `main` to return.
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// use daemon_rt::Daemon;
    ///
    /// fn serve() -> ExitCode {
    ///     let mut daemon = Daemon::new();
    ///     daemon.pidfile("/run/greeter.pid");
    ///     let service = daemon.hooks().main(|| daemon_rt::shutdown().wait());
    ///     daemon.serve(service)
    /// }
    /// ```
    ///
    /// If other threads run, the start fails with status 85 before anything is changed: start them in
    /// `init` or later. A second start in one process is refused with status 2: it says so, and
    /// returns.
    ///
    /// # What becomes of what the program has
    ///
    /// - Descriptors that it has opened stay open in the daemon. What was open before `main` is closed
    ///   (step 1), if it leads to the same file still and is not close-on-exec; so whoever takes over
    ///   an inherited descriptor sets `FD_CLOEXEC`, as sd_listen_fds(3) does.
    /// - Values live on in the daemon, and the process that was started never drops them. What a
    ///   `BufWriter` holds is the daemon's to write, and is lost if the start fails: flush it before.
    /// - Child processes remain children of the process that was started: the daemon cannot wait for
    ///   them.
    /// - Ignored signals get their default action, except SIGPIPE. Handlers stay.
    /// - The environment is replaced (step 4), and the memory of the inherited one is overwritten: a
    ///   pointer that getenv(3) has returned is no longer valid, as after setenv(3).
    ///
    /// # Platforms
    ///
    /// A constructor notes what is open before `main`: on Linux, in a program that calls this function,
    /// if this code is not in a shared library. Otherwise step 1 closes nothing, and no socket of a
    /// manager is taken over.
    pub fn serve<R>(&mut self, service: Service<'_, R>) -> ExitCode {
        sys::note_before_main::<Anywhere>();
        run(self, service.into_stages(), None)
    }

    /// Starts the service and runs it to its end: the whole of `main`.
    ///
    /// It returns as [`serve`](Self::serve) does, and is a few microseconds faster, as nothing has to
    /// be noted before `main`.
    ///
    /// # Safety
    ///
    /// Call it first thing in `main`, from the main thread: it closes the descriptors that the
    /// process inherited, overwrites the memory of the inherited environment, and forks. What ran
    /// before it must not own a descriptor above 2, must not keep a pointer that getenv(3)
    /// returned, and must have left no other thread running. The attribute `#[daemon]` keeps these
    /// rules by itself.
    pub unsafe fn run<R>(&mut self, service: Service<'_, R>) -> ExitCode {
        // SAFETY: the caller's promise is the same.
        let first = unsafe { StartOfMain::promised() };
        run(self, service.into_stages(), Some(first))
    }

    /// What the attribute calls in a function `main`: [`run`](Self::run) if that is the program's,
    /// else [`serve`](Self::serve).
    ///
    /// # Safety
    ///
    /// `Here` is declared in the function that calls this, in which no code of the program runs
    /// before. `IN_PROGRAM` says that it is compiled as part of a program, and not of a library or a
    /// test.
    #[doc(hidden)]
    pub unsafe fn run_in<Here, const IN_PROGRAM: bool, R>(
        &mut self,
        service: Service<'_, R>,
    ) -> ExitCode {
        sys::note_before_main::<In<Here, IN_PROGRAM>>();
        let first = In::<Here, IN_PROGRAM>::start_of_main();
        run(self, service.into_stages(), first)
    }
}

/// The whole of the service's life. `first` says that it is called first in `main`.
fn run(daemon: &mut Daemon, mut service: Stages<'_>, first: Option<StartOfMain>) -> ExitCode {
    if BEGUN.swap(true, Ordering::Relaxed) {
        let problem = "cannot start: this process has made a start already";
        log::error(problem);
        return ExitCode::from(status::INVALID_SETTING);
    }
    match begin(daemon, &mut service, first) {
        Ok(None) => main_loop::serve(service),
        Ok(Some(done)) => done,
        Err(failure) => {
            // What `configure` returned is the daemon's, not this process's, to drop.
            std::mem::forget(service);
            run::fail(failure);
        }
    }
}

/// Steps 1–3 and the `configure` hook, then the rest of the start, which depends on the mode.
///
/// `Some` where the command line asked for something else than a start, which has been done.
fn begin(
    daemon: &mut Daemon,
    service: &mut Stages<'_>,
    first: Option<StartOfMain>,
) -> Result<Option<ExitCode>, Failure> {
    report::begin(daemon.name.as_ref(), &daemon.statuses);
    let start = &match first {
        Some(first) => Start::OfMain(first),
        None => Start::Late(Late::new(&alone()?)),
    };
    let environment = InheritedEnvironment::find(start);
    let mut invocation = Invocation::take(start)?;
    listen::pass_from_manager(invocation.take_passed());
    run::watch_panics();

    let passed: Vec<RawFd> = invocation.descriptors().collect();
    let kept = descriptors::kept(daemon, "the descriptor is not open")?;
    let deferred = detach::begin(start, invocation.mode(daemon.mode), &passed, &kept)?; // 1–3
    descriptors::offer(deferred.descriptors);

    #[cfg(all(feature = "cli", target_os = "linux"))]
    daemon.read_command_line()?;
    let configure = service
        .configure
        .take()
        .map(|configure| || configure(daemon));
    let configured = run::run(run::CONFIGURE, configure);
    begin_report(daemon, &invocation);
    #[cfg(all(feature = "cli", target_os = "linux"))]
    if !daemon.starts() {
        let draft = Draft::new(daemon, environment, deferred.signals, Policy::Fail);
        let missing = if daemon.installs() {
            MissingPlaces::AreMade
        } else {
            MissingPlaces::AreWrong
        };
        let settings = draft.map(|draft| || draft.look_up(daemon)?.check_places(daemon, missing));
        let code = daemon.run_command(configured, settings, service.privileged_init.is_some())?;
        log::flush();
        return Ok(Some(code));
    }
    configured?;
    let mode = invocation.mode(daemon.mode);
    #[cfg(all(feature = "cli", target_os = "linux"))]
    let mode = mode_of_command(daemon, mode, &invocation);
    let policy = policy(daemon, mode, &invocation);
    let draft = Draft::new(daemon, environment, deferred.signals, policy)?;
    carry_on(daemon, service, start, &invocation, mode, draft)
}

/// The rest of the start.
fn carry_on(
    daemon: &Daemon,
    service: &mut Stages<'_>,
    start: &Start,
    invocation: &Invocation,
    mode: Mode,
    draft: Draft,
) -> Result<Option<ExitCode>, Failure> {
    let mut left = descriptors::take_back();
    let alone = alone_to_fork(mode)?;
    if mode == Mode::Detach {
        let not_open = "it was closed before `configure`, or was not open: use `keep_fd`";
        let kept = descriptors::kept(daemon, not_open)?;
        left.retain(|one| !kept.contains(&one.fd));
        descriptors::close_inherited(start, left)?; // 1, what `configure` might still have needed
    }
    check_mode(daemon, mode)?;
    let is_refused = |error| refused(error, mode, invocation);
    // A start that is refused need not look anything up. A restart refuses none.
    let probed = match daemon.replacement {
        None => Some(draft.probe().map_err(is_refused)?),
        Some(_) => None,
    };
    let plan = draft.look_up(daemon)?;
    Draft::make_directories(daemon, mode)?;
    let restart = match prepare_restart(daemon, &plan)? {
        ControlFlow::Continue(restart) => restart,
        ControlFlow::Break(outcome) => {
            if plan.says_outcome {
                log::say(&outcome);
            }
            log::flush();
            return Ok(Some(ExitCode::SUCCESS));
        }
    };
    let pidfile = match probed {
        Some(pidfile) => pidfile,
        None => plan.probe().map_err(is_refused)?,
    };
    match alone {
        Some(alone) if mode == Mode::Detach => {
            detach::detach(start, &alone, &plan, pidfile, restart, service)?;
        }
        alone => foreground::stay(alone.as_ref(), &plan, pidfile, service)?,
    }
    Ok(None)
}

/// Notes the settings with which a failure is reported. `Control::launch` is told by status 80 that
/// another instance runs, whatever the settings say.
fn begin_report(daemon: &mut Daemon, invocation: &Invocation) {
    if invocation.is_launched() {
        daemon.exit_status(ErrorKind::AlreadyRunning, status::ALREADY_RUNNING);
    }
    report::begin(daemon.name.as_ref(), &daemon.statuses);
}

/// How this start deals with an instance that runs.
fn policy(daemon: &Daemon, mode: Mode, invocation: &Invocation) -> Policy {
    if mode != Mode::Detach {
        Policy::Fail
    } else if invocation.is_launched() {
        Policy::WaitAndFail
    } else {
        match daemon.already_running {
            AlreadyRunning::Fail => Policy::Fail,
            AlreadyRunning::Wait => Policy::WaitAndLeave,
        }
    }
}

/// What systemd has executed may be the start of a unit, or a command that an administrator typed.
#[cfg(all(feature = "cli", target_os = "linux"))]
fn mode_of_command(daemon: &Daemon, mode: Mode, invocation: &Invocation) -> Mode {
    if !invocation.is_decided_by_exec_pid(daemon.mode) {
        return mode;
    }
    if daemon.start_is_typed() {
        return unit_start::mode();
    }
    if daemon.is_to_start() {
        unit_start::check_bare();
    }
    mode
}

/// That it runs already is a riddle to a supervisor that has started it twice.
#[cold]
fn refused(error: Error, mode: Mode, invocation: &Invocation) -> Failure {
    let hint = if error.kind() == ErrorKind::AlreadyRunning && mode == Mode::Detach {
        invocation.hint()
    } else {
        None
    };
    let mut failure = Failure::from(error);
    if let Some(hint) = hint {
        failure.text = format!("{}\n{hint}", failure.text);
    }
    failure
}

/// Begins the restart or upgrade that the settings ask for, if they do. `Break` if a manager has done
/// it all, with what was done.
fn prepare_restart(
    daemon: &Daemon,
    plan: &Plan,
) -> Result<ControlFlow<String, Option<Restart>>, Error> {
    let Some(replacement) = daemon.replacement else {
        return Ok(ControlFlow::Continue(None));
    };
    let Some(pidfile) = &plan.pidfile else {
        return Err(Error::no_pidfile());
    };
    // The instance that runs may have to be stopped first.
    plan.check_places(daemon, MissingPlaces::AreWrong)?;
    let (verb, patience) = match replacement {
        Replacement::Restart(given) => ("restart", Some(given.unwrap_or(daemon.patience()))),
        Replacement::Upgrade => ("upgrade", None),
    };
    keeper::prepare_restart(pidfile, patience).map_err(|error| error.in_command(verb))
}

fn check_mode(daemon: &Daemon, mode: Mode) -> Result<(), Error> {
    if mode == Mode::Detach && sys::is_init() {
        return Err(detached_from_pid_1(daemon));
    }
    match daemon.replacement {
        Some(Replacement::Restart(_)) if mode == Mode::Foreground => {
            Err(Error::usage("mode: foreground", "a restart detaches"))
        }
        Some(Replacement::Upgrade) if mode == Mode::Foreground => {
            Err(Error::usage("mode: foreground", "an upgrade detaches"))
        }
        _ => Ok(()),
    }
}

/// PID 1 cannot leave a daemon behind: its end is that of all other processes.
#[cold]
fn detached_from_pid_1(daemon: &Daemon) -> Error {
    let problem = "this process is PID 1, whose end ends every other process of its container";
    if let Some(Replacement::Restart(_)) = daemon.replacement {
        let problem = format!("{problem}: restart the container instead");
        return Error::control("", std::io::Error::other(problem)).in_command("restart");
    }
    Error::usage(
        "mode: detach",
        format!("{problem}: leave it to \"auto\", or say \"foreground\""),
    )
}

/// The same where this process is going to fork. `configure` may have started threads.
fn alone_to_fork(mode: Mode) -> Result<Option<SingleThreaded>, Error> {
    if mode == Mode::Detach || sys::is_init() {
        Ok(Some(alone()?))
    } else {
        Ok(None)
    }
}

/// Makes sure that there is one thread.
fn alone() -> Result<SingleThreaded, Error> {
    SingleThreaded::check().map_err(|threads| {
        let advice = match proc::emulator() {
            Some(emulator) => format!(
                "a fork keeps only one, and {emulator}, which runs this program, has one: stay in the foreground"
            ),
            None => "a fork keeps only one: start threads in `init` or later".to_owned(),
        };
        Error::step(Step::Fork, threads, std::io::Error::other(advice))
    })
}
