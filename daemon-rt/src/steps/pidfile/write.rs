//! Writes and reads the pid in the file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::libc;
use nix::sys::stat::FileStat;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Pid, ftruncate, getpid};

use super::lock::Pidfile;
use super::marks;
use super::own::{held, own};
use crate::daemon::Mode;
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::retry;

/// The length of the longest line, with its newline.
pub(super) const LONGEST_LINE: usize = 12;

impl Pidfile {
    /// Writes the pid of this process, the daemon. The file is never empty meanwhile. Shows others
    /// that this process is the service, and whether it stays in the foreground.
    #[inline]
    pub(crate) fn write(self, mode: Mode) -> Result<(), Error> {
        let Some(held) = held() else { return Ok(()) };
        if let Self::Locked(writer) = self {
            let written = write_to(&writer, &held.file);
            written.during(Step::WritePidfile, held.path.as_path().display())?;
            own();
        }
        // Now that the writer is closed.
        marks::set_process(held.lock.as_fd());
        if mode == Mode::Foreground {
            marks::set_foreground(held.lock.as_fd());
        }
        Ok(())
    }
}

fn write_to(pidfile: &OwnedFd, before: &FileStat) -> io::Result<()> {
    let mut buffer = [0; LONGEST_LINE];
    let line = line(getpid(), &mut buffer);
    if retry(|| pwrite(pidfile, line, 0))? < line.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let end = libc::off_t::try_from(line.len()).expect("it is short");
    if before.st_size > end {
        retry(|| ftruncate(pidfile, end))?;
    }
    Ok(())
}

/// Formats the line of a pidfile. By hand, because each page counts that a process touches when it
/// was just forked.
pub(super) fn line(pid: Pid, buffer: &mut [u8; LONGEST_LINE]) -> &[u8] {
    let mut start = buffer.len() - 1;
    buffer[start] = b'\n';
    let mut rest = pid.as_raw().unsigned_abs();
    while rest > 0 {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    &buffer[start..]
}

/// Reads the pid in the first line of a pidfile; `None` if there is anything else.
pub(crate) fn read_pid(file: impl AsFd) -> io::Result<Option<Pid>> {
    const LONGEST: usize = 32;
    let mut start = [0; LONGEST];
    let length = retry(|| pread(&file, &mut start, 0))?;
    // The beginning of a number that is cut off would be another number.
    if length == LONGEST && !start.contains(&b'\n') {
        return Ok(None);
    }
    Ok(parse_pid(&start[..length]))
}

/// Reads the pid in the first line of a text.
pub(super) fn parse_pid(text: &[u8]) -> Option<Pid> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    let pid: i32 = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    if pid > 0 {
        Some(Pid::from_raw(pid))
    } else {
        None
    }
}
