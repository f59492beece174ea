//! The commands of managers: run with a time limit, and with nothing of the caller's environment.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, geteuid};

use crate::steps::environment::PATH;
use crate::sys::{self, retry};

/// Runs a command to its end.
///
/// What it writes goes to memory, not to a pipe: it may leave a process behind that keeps its
/// outputs open.
///
/// # Errors
/// If it cannot be run, or has not ended in time. It is killed then.
pub(super) fn run(words: &[String], limit: Duration) -> io::Result<Output> {
    let (mut out, mut err) = (memory()?, memory()?);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C");
    if !geteuid().is_root() {
        // Where the manager of a user is.
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", geteuid()));
    }
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?);
    let mut child = command.spawn()?;
    let ended = ends_within(sys::pid_of(child.id()), limit);
    if !matches!(ended, Ok(true)) {
        child.kill()?;
        child.wait()?;
        ended?;
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it has not ended in {limit:?}"),
        ));
    }
    Ok(Output {
        status: child.wait()?,
        stdout: written(&mut out)?,
        stderr: written(&mut err)?,
    })
}

fn memory() -> io::Result<File> {
    Ok(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?.into())
}

fn written(memory: &mut File) -> io::Result<Vec<u8>> {
    /// As much as is worth reading.
    const MOST: u64 = 1 << 20;
    memory.rewind()?;
    let mut text = Vec::new();
    memory.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

fn ends_within(child: Pid, limit: Duration) -> io::Result<bool> {
    let process = sys::pidfd_open(child)?;
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut end = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(retry(|| poll(&mut end, timeout))? > 0)
}
