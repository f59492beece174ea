//! THE FIFTEEN STEPS of daemon(7), "SysV Daemons", in their sequence.

use std::os::fd::RawFd;

use nix::unistd::{ForkResult, setsid};

use crate::control::handover::{self, New, Restart};
use crate::daemon::Mode;
use crate::error::{During, Error, Failure};
use crate::hooks::{Readiness, Stages, announce, run};
use crate::report::pipe::{self, Reporter};
use crate::report::{self, log};
use crate::service::{drain, end, limit, requests};
use crate::start::plan::Plan;
use crate::start::starter::Starter;
use crate::step::Step;
use crate::steps::pidfile::{self, Claim};
use crate::steps::privileges::{self, capability};
use crate::steps::signals::{self, StillIgnored};
use crate::steps::{descriptors, environment, own_directory, streams, writer};
use crate::sys::kept::InheritedFd;
use crate::sys::{self, SingleThreaded, Start};

/// What steps 1 and 2 leave for later.
pub(crate) struct Deferred {
    pub(crate) descriptors: Vec<InheritedFd>,
    pub(crate) signals: StillIgnored,
}

/// Steps 1–3, which come first, before `configure` decides on the mode. In the foreground the
/// descriptors are left alone, and so are those that a manager has `passed`, and those that are `kept`.
pub(crate) fn begin(
    start: &Start,
    mode: Mode,
    passed: &[RawFd],
    kept: &[RawFd],
) -> Result<Deferred, Error> {
    let descriptors = descriptors::close_descriptors(start, mode, passed, kept)?; // 1
    let signals = signals::reset_signals()?; // 2
    signals::unblock_signals()?; // 3
    Ok(Deferred {
        descriptors,
        signals,
    })
}

/// Steps 4–15. It returns in the daemon alone: the starter and the intermediate process end here.
pub(crate) fn detach(
    start: &Start,
    alone: &SingleThreaded,
    plan: &Plan,
    pidfile: Claim,
    restart: Option<Restart>,
    service: &mut Stages<'_>,
) -> Result<(), Failure> {
    // The starter.
    let null = streams::open_null()?;
    let starter = Starter::prepare(plan)?;
    let pidfile = pidfile.lock(&plan.others)?;
    if let Claim::LeftToAnother = pidfile {
        leave_to_another(plan);
    }
    environment::clean_environment(start, &plan.environment)?; // 4
    let (reporter, receiver) = pipe::channel().during(Step::Notify, "a pipe to the daemon")?;
    log::flush();
    match sys::fork(alone).during(Step::Fork, "the starter")? {
        ForkResult::Child => {
            drop(receiver); // 5
            // What the starter's hook owns is not dropped a second time.
            std::mem::forget(service.started.take());
        }
        ForkResult::Parent { child } => {
            reporter.close();
            let restart = restart.map(Restart::into_restarter);
            starter.wait(child, receiver, restart, service.started.take()) // 15
        }
    }

    let forked = leave_session(alone, &reporter);
    report::set_starter(reporter);
    forked?;

    // The daemon.
    let restart = restart.map(Restart::into_new);
    starter.give_up()?;
    plan.still_ignored.reset()?; // 2, what the starter had put off
    signals::unblock_signals()?; // 3, the same
    let piped;
    let mut logs = &plan.logs;
    if writer::is_wanted(logs) {
        piped = writer::start(alone, &null, logs, &plan.privileges)?;
        logs = &piped;
    }
    streams::connect_streams(start, &null, logs, plan.privileges.owner())?; // 9
    drop(null);
    if let Some(mask) = plan.umask {
        streams::set_umask(mask); // 10
    }
    if let Some(directory) = plan.directory_outside_chroot() {
        streams::change_directory(directory)?; // 11
    }
    initialize(plan, Mode::Detach, pidfile, restart, service)
}

/// The intermediate process. It returns in the daemon. The program's variables are left alone: a
/// page that is written to is copied first.
fn leave_session(alone: &SingleThreaded, reporter: &Reporter) -> Result<(), Error> {
    if sys::is_init() {
        return Err(first_of_its_namespace());
    }
    setsid().during(Step::NewSession, "the intermediate process")?; // 6
    capability::join_new_keyring().during(Step::NewSession, "the session keyring")?;
    match sys::fork(alone).during(Step::ForkAgain, "the intermediate process")? {
        ForkResult::Child => Ok(()), // 7
        ForkResult::Parent { child } => {
            reporter
                .tell_forked(child)
                .during(Step::LeaveDaemon, report::TO_STARTER)?;
            sys::exit_now(0) // 8
        }
    }
}

/// Another instance runs, and is ready: this start has nothing to do, and ends as a good one.
pub(crate) fn leave_to_another(plan: &Plan) -> ! {
    if plan.says_outcome {
        log::say("is already running");
    }
    log::flush();
    sys::exit_now(0)
}

/// The caller, or `configure`, has made a pid namespace for its children alone. It ends with the
/// first of them, which is the intermediate process.
#[cold]
fn first_of_its_namespace() -> Error {
    let problem = "it would end with the intermediate process, which is its PID 1 (give `unshare --pid` its `--fork`)";
    Error::step(
        Step::LeaveDaemon,
        "the new pid namespace",
        std::io::Error::other(problem),
    )
}

/// Steps 12–14, with the hooks between them: the same in the foreground.
pub(crate) fn initialize(
    plan: &Plan,
    mode: Mode,
    pidfile: Claim,
    restart: Option<New>,
    service: &mut Stages<'_>,
) -> Result<(), Failure> {
    requests::adopt();
    // First, so that whoever finds this process by its pidfile finds the socket, too.
    if let Some(path) = plan.control_path() {
        handover::bind_socket(path, restart, &plan.version)?;
    }
    if pidfile::is_held() {
        // First: in the foreground nobody else would remove it if a signal came now.
        end::handle_signals().during(Step::WritePidfile, "its removal when a signal comes")?;
    }
    pidfile.write(mode)?; // 12
    if mode == Mode::Detach {
        plan.resources.set()?; // 13
    }
    for directory in plan.own_directories() {
        own_directory::hand_over(directory, plan.privileges.owners())?; // 13
    }
    run::run("privileged_init", service.privileged_init.take())?;
    privileges::give_up(&plan.privileges, plan.working_directory.as_deref())?; // 13
    limit::set(plan.stop_timeout);
    drain::set_limit(plan.drain_timeout);
    run::run("init", service.init.take())?;
    if service.readiness == Readiness::BeforeMain {
        announce::announce()?; // 14
    }
    Ok(())
}
