//! The new-style daemon: under a service manager, as PID 1 of a container, or on request, it does
//! not detach.

use super::pid1;
use crate::daemon::Mode;
use crate::error::Failure;
use crate::hooks::Stages;
use crate::start::detach;
use crate::start::plan::Plan;
use crate::steps::pidfile::Claim;
use crate::steps::streams;
use crate::sys::SingleThreaded;

/// The pidfile if one was asked for, the privilege drop if one was asked for, and the hooks, all as
/// in the detached daemon; the streams, the umask, the directory and the environment are the
/// manager's business.
///
/// `alone` is given where this process is PID 1.
pub(crate) fn stay(
    alone: Option<&SingleThreaded>,
    plan: &Plan,
    pidfile: Claim,
    service: &mut Stages<'_>,
) -> Result<(), Failure> {
    plan.still_ignored.reset()?; // 2, what a starter would have put off
    alone.map_or(Ok(()), pid1::serve_as_init)?;
    streams::note_inherited_logs();
    let pidfile = pidfile.lock(&plan.others)?;
    detach::initialize(plan, Mode::Foreground, pidfile, None, service)
}
