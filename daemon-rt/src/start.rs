//! The start, from the first line of `main` to its last: what comes before the mode is known, and
//! what comes after.

use std::process::ExitCode;

use crate::daemon::{Daemon, Mode};
use crate::detach::{self, Step};
use crate::error::{self, Error};
use crate::handshake::Failure;
use crate::hooks::{Ended, Stages};
use crate::inherited::{self, KnownDescriptors};
use crate::manager::{self, Surroundings};
use crate::plan::Plan;
use crate::sys::{InheritedEnvironment, SingleThreaded, StartOfMain};
use crate::{audience, complain, foreground, hook, pidfile};

/// The whole of `main`.
pub(crate) fn run(daemon: &mut Daemon, mut service: Stages<'_>, start: &StartOfMain) -> ExitCode {
    match begin(daemon, &mut service, start) {
        Ok(None) => serve(service),
        Ok(Some(done)) => done,
        Err(failure) => {
            // What `configure` returned is the daemon's, not this process's, to drop.
            std::mem::forget(service);
            audience::fail(failure);
        }
    }
}

/// Steps 1–3 and the `configure` hook, then the rest of the start, which depends on the mode.
///
/// `Some` where the command line asked for something else than a start, which has been done.
fn begin(
    daemon: &mut Daemon,
    service: &mut Stages<'_>,
    start: &StartOfMain,
) -> Result<Option<ExitCode>, Failure> {
    let environment = InheritedEnvironment::find(start);
    audience::begin(daemon.name.as_ref());
    let surroundings = Surroundings::take(start)?;
    hook::watch_panics();

    let mut keep: Vec<_> = surroundings.descriptors().collect();
    let late = if surroundings.mode(daemon.mode) == Mode::Detach {
        let named = KnownDescriptors::named_by_arguments(&keep);
        keep.extend(named.numbers());
        inherited::close_descriptors(start, &keep)?; // 1
        named
    } else {
        KnownDescriptors::all_but(&keep)
    };
    let still_ignored = inherited::reset_signals()?; // 2
    inherited::unblock_signals()?; // 3

    #[cfg(all(feature = "cli", target_os = "linux"))]
    daemon.read_command_line();
    let configure = service
        .configure
        .take()
        .map(|configure| || configure(daemon));
    hook::run("configure", configure)?;
    audience::begin(daemon.name.as_ref());
    let mode = surroundings.mode(daemon.mode);
    #[cfg(all(feature = "cli", target_os = "linux"))]
    let mode = if daemon.start_is_typed() {
        surroundings.mode_of_typed_start(daemon.mode)
    } else {
        if daemon.is_to_start() {
            surroundings.check_bare_start(daemon.mode);
        }
        mode
    };
    if mode == Mode::Detach {
        late.close(start)?; // 1, what `configure` might still have needed
    }
    // The two in which this process forks.
    let forks = mode == Mode::Detach || manager::is_init();
    let alone = forks.then(alone).transpose()?;
    let mut plan = Plan::new(daemon, environment, still_ignored)?;
    #[cfg(all(feature = "cli", target_os = "linux"))]
    if let Some(code) =
        daemon.perform(plan.pidfile.as_deref(), service.privileged_init.is_some())?
    {
        complain::flush();
        return Ok(Some(code));
    }
    if mode == Mode::Detach && manager::is_init() {
        return Err(detached_from_pid_1(daemon).into());
    }
    if let (Some((prepare, patience)), Some(pidfile)) = (daemon.restart, &plan.pidfile) {
        if let Some(done) = prepare(pidfile, patience)? {
            complain::flush();
            return Ok(Some(done));
        }
    }
    if let Err(error) = pidfile::probe(plan.pidfile.as_deref()) {
        return Err(refused(error, mode, &surroundings));
    }
    plan.look_up(daemon)?;
    match alone {
        Some(alone) if mode == Mode::Detach => detach::detach(start, &alone, &plan, service)?,
        alone => foreground::stay(alone.as_ref(), &plan, service)?,
    }
    Ok(None)
}

/// The main loop, and what is left to do for readiness if it has taken that on itself.
fn serve(service: Stages<'_>) -> ExitCode {
    let Stages {
        main, defers_ready, ..
    } = service;
    if !defers_ready {
        return report(main());
    }
    let deferred = || {
        let ended = main();
        if audience::is_starting() {
            Err(too_early(ended))
        } else {
            Ok(ended)
        }
    };
    match hook::watch("main", deferred) {
        Ok(Ok(ended)) => report(ended),
        Ok(Err(failure)) => audience::fail(failure),
        Err(failure) if audience::is_starting() => audience::fail(failure),
        Err(_) => ExitCode::from(hook::PANICKED),
    }
}

/// The main loop has ended before it was ready.
fn too_early(ended: Ended<'_>) -> Failure {
    let report = match ended {
        Ended::Failed(error) => return hook::returned("main", error),
        Ended::Reported(report) => report,
    };
    let (_, text) = complain::capture(report);
    let how = if text.is_empty() {
        "it returned"
    } else {
        text.trim_end()
    };
    hook::failed("main", &format!("{how}, before it called `Ready::notify`"))
}

/// Says how the main loop has ended, if it has failed.
fn report(ended: Ended<'_>) -> ExitCode {
    match ended {
        Ended::Reported(report) => complain::relay(report),
        Ended::Failed(error) => {
            complain::complain(&audience::name(), &error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// That it runs already is a riddle to a supervisor that has started it twice.
#[cold]
fn refused(error: Error, mode: Mode, surroundings: &Surroundings) -> Failure {
    let hint = if error.is_already_running() && mode == Mode::Detach {
        surroundings.hint()
    } else {
        None
    };
    let mut failure = Failure::from(error);
    if let Some(hint) = hint {
        failure.text = format!("{}\n{hint}", failure.text);
    }
    failure
}

/// PID 1 cannot leave a daemon behind: its end is that of all other processes.
#[cold]
fn detached_from_pid_1(daemon: &Daemon) -> Error {
    let problem = "this process is PID 1, whose end ends every other process of its container";
    if daemon.restart.is_some() {
        let problem = format!("{problem}: restart the container instead");
        return Error::control("restart", std::io::Error::other(problem));
    }
    Error::usage(
        "mode: detach",
        format!("{problem}: leave it to \"auto\", or say \"foreground\""),
    )
}

/// Makes sure that there is one thread.
fn alone() -> Result<SingleThreaded, Error> {
    SingleThreaded::check().map_err(|threads| {
        let error =
            std::io::Error::other("a fork keeps only one: start threads in `init` or later");
        Error::step(Step::Fork, threads, error)
    })
}
