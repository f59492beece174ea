//! systemd's journal as a standard stream.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::syslog::{Facility, Severity};

use crate::daemon::log::JOURNAL;
use crate::sys::stat::fstat;
use crate::sys::{self, Start};

/// The object of an error.
pub(super) const OBJECT: &str = "the journal";

/// Connects to the journal, as systemd does for what it starts. What is written there is the journal's
/// at once, whatever becomes of the service.
pub(super) fn connect(name: &str) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect(JOURNAL)?;
    stream.shutdown(Shutdown::Read)?;
    stream.write_all(header(name).as_bytes())?;
    Ok(stream.into())
}

/// The header: identifier, unit, priority, whether lines may begin with a severity; whether they go on
/// to the system log, the kernel's and the console. The unit is what the control group says.
fn header(name: &str) -> String {
    let priority = Facility::LOG_DAEMON as i32 | Severity::LOG_INFO as i32;
    let name = name.replace('\n', " ");
    format!("{name}\n\n{priority}\n1\n0\n0\n0\n")
}

/// Tells loggers in this process and its children that the stream is the journal's, as systemd.exec(5)
/// has it.
pub(super) fn name_to_others(start: &Start, stream: &OwnedFd) -> io::Result<()> {
    let found = fstat(stream)?;
    let name = format!("{}:{}", found.st_dev, found.st_ino);
    sys::set(start, "JOURNAL_STREAM", &name);
    Ok(())
}
