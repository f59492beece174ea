//! The main loop, and its end.

use std::process::ExitCode;

use crate::error::{self, Failure};
use crate::hooks::{Ended, Readiness, Stages, run};
use crate::report::{self, log};
use crate::status;

/// The main loop, and what is left to do for readiness if it has taken that on itself.
pub(super) fn serve(service: Stages<'_>) -> ExitCode {
    let Stages {
        main, readiness, ..
    } = service;
    if readiness == Readiness::BeforeMain {
        return exit_code(main());
    }
    let deferred = || {
        let ended = main();
        if report::is_starting() {
            Err(too_early(ended))
        } else {
            Ok(ended)
        }
    };
    match run::watch("main", deferred) {
        Ok(Ok(ended)) => exit_code(ended),
        Ok(Err(failure)) => run::fail(failure),
        Err(failure) if report::is_starting() => run::fail(failure),
        Err(_) => ExitCode::from(status::PANICKED),
    }
}

/// The main loop has ended before it was ready.
fn too_early(ended: Ended<'_>) -> Failure {
    let report = match ended {
        Ended::Failed(error) => return run::returned("main", error),
        Ended::Reported(report) => report,
    };
    let (_, text) = log::capture(report);
    let how = if text.is_empty() {
        "it returned"
    } else {
        text.trim_end()
    };
    run::failed("main", &format!("{how}, before it called `Ready::notify`"))
}

/// The exit code of the main loop. A failure is reported.
fn exit_code(ended: Ended<'_>) -> ExitCode {
    match ended {
        Ended::Reported(report) => log::print_end(report),
        Ended::Failed(error) => {
            log::error(&error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
