//! The time over UDP, as RFC 868 has it: to each datagram it answers the seconds since 1900, in four
//! bytes. To see it work:
//!
//! ```text
//! $ timeserver 3737
//! $ echo | nc -u -w 1 127.0.0.1 3737 | od -A n -t u4 --endian=big
//! ```

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use daemon_rt::{Daemon, daemon, listen, shutdown};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;

/// From 1900 to 1970, in seconds.
const UNIX_TIME: u64 = 2_208_988_800;

#[daemon(name = "timeserver", pidfile, stdout, stderr, umask = 0o022,
         configure = configure, privileged_init = bind)]
fn main(socket: UdpSocket) -> io::Result<()> {
    let mut question = [0]; // what is asked does not matter
    loop {
        match socket.recv_from(&mut question) {
            Ok((_, client)) => {
                if let Err(error) = socket.send_to(&time()[4..], client) {
                    eprintln!("no answer to {client}: {error}");
                }
            }
            // The queue is empty.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if shutdown().requested() {
                    return Ok(());
                }
                wait(&socket)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Reads the port from the command line.
fn configure(daemon: &mut Daemon) -> Result<u16, Box<dyn Error>> {
    if geteuid().is_root() {
        daemon.user("nobody");
    }
    let Some(port) = env::args().nth(1) else {
        return Ok(37);
    };
    Ok(port
        .parse()
        .map_err(|error| format!("port {port}: {error}"))?)
}

/// Still as root, who alone may bind the ports below 1024.
fn bind(port: u16) -> Result<UdpSocket, Box<dyn Error>> {
    let socket: UdpSocket = listen("time", (Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The seconds, of which the last four bytes are sent.
fn time() -> [u8; 8] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |since| since.as_secs());
    (seconds + UNIX_TIME).to_be_bytes()
}

/// Waits for a question, or for the request to end.
fn wait(socket: &UdpSocket) -> io::Result<()> {
    let descriptors = [socket.as_fd(), shutdown().as_fd()];
    let mut descriptors = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut descriptors, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
