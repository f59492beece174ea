//! A service that counts datagrams, or the connections that it has answered. At its end it appends
//! the number to a file: all of it are what has come through. Its settings come by the environment,
//! as words in `COUNTING`:
//!
//! - `pidfile=PATH`
//! - `udp=ADDRESS`, `unix=PATH` or, for connections, `stream=PATH`: where it listens
//! - `counts=FILE`

use std::convert::Infallible;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};

use daemon_rt::{Daemon, daemon, listen, shutdown};
use daemon_tests::Settings;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Enough for a second in which no instance has a processor.
const BUFFER: usize = 64 << 20;

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Stream(UnixListener),
}

#[daemon(cli, configure = configure, privileged_init = bind, umask = 0o022)]
fn main((socket, settings): (Socket, Settings)) -> Result<()> {
    let count = match &socket {
        Socket::Udp(socket) => count(socket, || socket.recv(&mut [0; 64]))?,
        Socket::Unix(socket) => count(socket, || socket.recv(&mut [0; 64]))?,
        Socket::Stream(socket) => count(socket, || answer(socket))?,
    };
    let mut counts = OpenOptions::new()
        .append(true)
        .create(true)
        .open(settings.get("counts").ok_or("no file for the counts")?)?;
    Ok(counts.write_all(format!("{count}\n").as_bytes())?)
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> std::result::Result<Settings, Infallible> {
    Ok(Settings::of_variable("COUNTING", daemon))
}

fn bind(settings: Settings) -> Result<(Socket, Settings)> {
    _ = shutdown();
    if let Some(path) = settings.get("unix") {
        let socket: UnixDatagram = listen("datagrams", path)?;
        socket.set_nonblocking(true)?;
        return Ok((Socket::Unix(socket), settings));
    }
    if let Some(path) = settings.get("stream") {
        let socket: UnixListener = listen("connections", path)?;
        socket.set_nonblocking(true)?;
        return Ok((Socket::Stream(socket), settings));
    }
    let socket: UdpSocket = listen("datagrams", settings.get("udp").ok_or("no address")?)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
    Ok((Socket::Udp(socket), settings))
}

/// Takes one connection, and gives its request back.
fn answer(socket: &UnixListener) -> io::Result<usize> {
    let (mut client, _) = socket.accept()?;
    client.set_nonblocking(false)?;
    let mut request = [0; 8];
    client.read_exact(&mut request)?;
    client.write(&request)
}

/// Counts until the service is to end. What is in the queue then is the new instance's or, where
/// there is none, counted.
fn count(socket: &impl AsFd, next: impl Fn() -> io::Result<usize>) -> Result<u64> {
    let mut count = 0;
    loop {
        let ends = shutdown().requested();
        if ends && shutdown().replaced() {
            return Ok(count);
        }
        match next() {
            Ok(_) => count += 1,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if ends => return Ok(count),
            Err(_) => {
                let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
                let mut either = [readable(socket.as_fd()), readable(shutdown().as_fd())];
                match poll(&mut either, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}
