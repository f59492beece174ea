//! An end that loses no connection, for threads: what is accepted after the request to end would be cut
//! with the service, so no thread may wait in accept(2) then.

use std::io;
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use daemon_rt::shutdown;
#[cfg(unix)]
use nix::errno::Errno;
#[cfg(unix)]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Before it tries again, for example when no descriptor was left.
const PAUSE: Duration = Duration::from_millis(10);

/// Accepts a connection. From the request to end on only what is in the queue: in a restart the new
/// instance accepts that. The listener must not block: the other instance may take the connection that
/// poll(2) has seen.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    loop {
        let ends = shutdown().requested();
        if ends && shutdown().replaced() {
            return Ok(None);
        }
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                return Ok(Some(connection));
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) if ends => return Ok(None),
            Err(_) => wait(listener)?,
        }
    }
}

/// Waits for a connection, or the request.
#[cfg(unix)]
fn wait(listener: &TcpListener) -> io::Result<()> {
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut either = [readable(listener.as_fd()), readable(shutdown().as_fd())];
    match poll(&mut either, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Elsewhere there is no descriptor for the request.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
fn wait(_: &TcpListener) -> io::Result<()> {
    _ = shutdown().wait_timeout(PAUSE);
    Ok(())
}
