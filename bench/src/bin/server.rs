//! A server that answers every connection with one byte, and hands its socket over: `server` starts
//! it, `server restart` replaces it, `server stop` ends it. With a number it has so many sockets.

use std::io::{Result, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use daemon_bench::PLACE;
use daemon_rt::control::Control;
use daemon_rt::{Daemon, daemon, listen, shutdown};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

const PATIENCE: Duration = Duration::from_secs(5);

#[daemon(pidfile = "/run/daemon-bench/server.pid", umask = 0o022, configure = configure, init = bind)]
fn main(listener: UnixListener) -> Result<()> {
    loop {
        let mut ready = [listener.as_fd(), shutdown().as_fd()]
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        _ = poll(&mut ready, PollTimeout::NONE);
        // Another instance may have been faster in accepting.
        while let Ok((mut peer, _)) = listener.accept() {
            _ = peer.write_all(b"1");
        }
        if shutdown().requested() {
            return Ok(());
        }
    }
}

fn configure(daemon: &mut Daemon) -> std::result::Result<(), Box<dyn std::error::Error>> {
    daemon.control_socket();
    match std::env::args().nth(1).as_deref() {
        Some("restart") => _ = daemon.restart(PATIENCE),
        Some("stop") => {
            Control::new(format!("{PLACE}/server.pid")).stop(PATIENCE)?;
            std::process::exit(0);
        }
        _ => {}
    }
    Ok(())
}

fn bind() -> std::result::Result<UnixListener, daemon_rt::Error> {
    let count = std::env::args().nth(2);
    for _ in 1..count.map_or(1, |count| count.parse().expect("a number")) {
        std::mem::forget(listen::<TcpListener>("more", "127.0.0.1:0")?);
    }
    let listener: UnixListener = listen("main", format!("{PLACE}/server.socket"))?;
    listener.set_nonblocking(true).expect("a socket");
    Ok(listener)
}
