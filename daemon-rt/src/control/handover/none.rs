//! Without pidfds and peer credentials there is no control socket: a restart is a stop and a start.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;

use crate::error::Error;
use crate::service::listen::Origin;
use crate::step::Step;

pub(crate) fn bind_socket(path: &Path) -> Result<(), Error> {
    Err(Error::step(
        Step::WritePidfile,
        path.display().to_string(),
        io::Error::from(io::ErrorKind::Unsupported),
    ))
}

pub(crate) fn see_off() -> Option<String> {
    None
}

#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn answer_calls() -> Result<(), Error> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn verify() -> Result<(), Error> {
    Ok(())
}

pub(crate) fn is_restart() -> bool {
    false
}

pub(crate) fn is_under_way() -> bool {
    false
}

pub(crate) fn keep_daemons_end() {}

#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn commit(_: Pid) -> io::Result<()> {
    Ok(())
}

pub(crate) fn clean_up(_: &Path) {}

pub(crate) fn await_go() -> bool {
    true
}

pub(crate) fn prepare_restart(path: &Path, _: Duration) -> Result<(), Error> {
    bind_socket(path)
}
