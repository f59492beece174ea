//! Waiting for a descriptor.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::retry;

/// Waits until there is something to read, which in a pidfd means that the process has ended.
/// `false` if the time is up before.
pub(super) fn until_readable(fd: impl AsFd, limit: Option<Duration>) -> nix::Result<bool> {
    let timeout = match limit {
        Some(limit) => PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    let mut input = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(retry(|| poll(&mut input, timeout))? > 0)
}
