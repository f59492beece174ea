//! Writes the pid to the file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::{ftruncate, getpid};

use super::held::{Held, held};
use super::line::write_pid;
use super::lock::Claim;
use super::marks;
use crate::daemon::Mode;
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::retry;

impl Claim {
    /// Writes the pid of this process, the daemon. The file is never empty meanwhile. Shows others
    /// that this process is the service, and whether it stays in the foreground.
    #[inline]
    pub(crate) fn write(self, mode: Mode) -> Result<(), Error> {
        let Some(held) = held() else { return Ok(()) };
        if let Self::Locked(writer) = self {
            held.write_pid(&writer)
                .during(Step::WritePidfile, held.path.as_path().display())?;
        }
        // Now that the writer is closed.
        marks::set_process(held.lock.as_fd());
        if mode == Mode::Foreground {
            marks::set_foreground(held.lock.as_fd());
        }
        Ok(())
    }
}

impl Held {
    /// Writes the pid of this process, which owns the file from then on.
    pub(super) fn write_pid(&self, writer: &OwnedFd) -> io::Result<()> {
        let end = write_pid(writer, getpid(), self.file.st_size)?;
        if self.file.st_size > end.into() {
            retry(|| ftruncate(writer, end.into()))?;
        }
        self.state.own();
        Ok(())
    }
}
