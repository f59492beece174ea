//! Waiting for a descriptor, and for the end of a child.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::retry;

/// Pause between two looks for the end of a child, where no event says so.
const PAUSE: Duration = Duration::from_millis(10);

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

/// Waits for the end of a child, by its pidfd if it has one; `None` if the time is up before.
pub(super) fn until_end(
    child: &mut Child,
    pidfd: Option<&OwnedFd>,
    deadline: Option<Instant>,
) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        if left.is_zero() {
            return Ok(None);
        }
        match pidfd {
            Some(pidfd) if until_readable(pidfd, Some(left)).is_ok() => {}
            _ => thread::sleep(PAUSE.min(left)),
        }
    }
}
