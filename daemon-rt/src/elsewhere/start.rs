//! The start: the hooks, one after the other, in this process.

#[path = "../start/main_loop.rs"]
mod main_loop;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use super::drain;
use super::settings;
use super::shutdown;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::hooks::{Readiness, Service, Stages, announce, run};
use crate::report::{self, log};
use crate::status;

/// Set when a start begins: a process makes one.
static BEGUN: AtomicBool = AtomicBool::new(false);

#[allow(unsafe_code)]
impl Daemon {
    /// Runs the service to its end, in the foreground.
    pub fn serve<R>(&mut self, service: Service<'_, R>) -> ExitCode {
        run_service(self, service.into_stages())
    }

    /// Runs the service to its end, in the foreground.
    ///
    /// # Safety
    ///
    /// None is needed here. On Unix it has to be called first thing in `main`.
    pub unsafe fn run<R>(&mut self, service: Service<'_, R>) -> ExitCode {
        self.serve(service)
    }

    /// What the attribute calls in a function `main`.
    ///
    /// # Safety
    ///
    /// None is needed here.
    #[doc(hidden)]
    pub unsafe fn run_in<Here, const IN_PROGRAM: bool, R>(
        &mut self,
        service: Service<'_, R>,
    ) -> ExitCode {
        self.serve(service)
    }
}

fn run_service(daemon: &mut Daemon, mut service: Stages<'_>) -> ExitCode {
    if BEGUN.swap(true, Ordering::Relaxed) {
        log::error("cannot start: this process has made a start already");
        return ExitCode::from(status::INVALID_SETTING);
    }
    match begin(daemon, &mut service) {
        Ok(()) => main_loop::serve(service),
        Err(failure) => run::fail(failure),
    }
}

/// The hooks, with the checks between them.
fn begin(daemon: &mut Daemon, service: &mut Stages<'_>) -> Result<(), Failure> {
    report::begin(daemon.name.as_ref(), &daemon.statuses);
    run::watch_panics();
    #[cfg(feature = "cli")]
    daemon.read_command_line()?;
    let configure = service
        .configure
        .take()
        .map(|configure| || configure(daemon));
    let configured = run::run(run::CONFIGURE, configure);
    report::begin(daemon.name.as_ref(), &daemon.statuses);
    configured?;
    #[cfg(feature = "cli")]
    daemon.check_command()?;
    settings::check(daemon)?;
    shutdown::limit(daemon.stop_timeout);
    drain::set_limit(daemon.time_to_drain()?);
    run::run("privileged_init", service.privileged_init.take())?;
    run::run("init", service.init.take())?;
    if service.readiness == Readiness::BeforeMain {
        announce::announce()?;
    }
    Ok(())
}
