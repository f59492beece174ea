//! Without pidfds nobody is found by a pidfile, nor who runs it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::control::handover;
use crate::error::Error;

pub(crate) fn prepare_restart(
    pidfile: &Path,
    patience: Duration,
) -> Result<Option<ExitCode>, Error> {
    handover::prepare_restart(pidfile, patience)?;
    Ok(None)
}
