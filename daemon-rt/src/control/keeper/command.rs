//! The commands of managers: run with a time limit, and with nothing of the caller's environment.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use crate::control::memory::memory_file;
use crate::control::wait::until_end;
use crate::steps::environment::PATH;
use crate::sys;

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be run, or has not ended in time; then it is killed.
pub(crate) fn run(words: &[String], limit: Duration) -> io::Result<Output> {
    let (mut out, mut err) = (memory_file(c"output")?, memory_file(c"output")?);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C");
    if !geteuid().is_root() {
        // Where the user's own manager is.
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", geteuid()));
    }
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?);
    let mut child = command.spawn()?;
    let pidfd = sys::pidfd_open(sys::pid_of(child.id())).ok();
    let deadline = Instant::now().checked_add(limit);
    let Some(status) = until_end(&mut child, pidfd.as_ref(), deadline)? else {
        child.kill()?;
        child.wait()?;
        let problem = format!("still running after {limit:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
    };
    Ok(Output {
        status,
        stdout: written(&mut out)?,
        stderr: written(&mut err)?,
    })
}

/// Runs a command that answers with a text.
pub(crate) fn ask(words: &[String], limit: Duration) -> io::Result<String> {
    match run(words, limit) {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => Err(named(&words.join(" "), &error)),
    }
}

/// The error with the command that has failed.
pub(super) fn named(command: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{command}`: {error}"))
}

fn written(memory: &mut File) -> io::Result<Vec<u8>> {
    /// As much as is worth reading.
    const MOST: u64 = 1 << 20;
    memory.rewind()?;
    let mut text = Vec::new();
    memory.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}
