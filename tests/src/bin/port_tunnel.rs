//! A tunnel in the shape of boringtun: it gets its end of the tunnel as a descriptor, by number, and
//! opens its devices as root, in threads. Then it is nobody, and forwards each line to each device.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{env, io, thread};

use clap::Parser;
use daemon_rt::{Daemon, Mode, daemon, shutdown};

/// The variable that names the descriptor where no argument does.
const VARIABLE: &str = "WG_TUN_FD";

/// A tunnel.
#[derive(Parser)]
struct Options {
    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,
    /// The descriptor of the tunnel
    #[arg(long)]
    tun_fd: Option<RawFd>,
    #[arg(long)]
    pidfile: PathBuf,
    #[arg(long)]
    log: PathBuf,
    /// Leave the threads that open the devices running
    #[arg(long)]
    linger: bool,
    /// Where the packets go
    devices: Vec<PathBuf>,
}

/// What only root can open.
struct Tunnel {
    tun: File,
    devices: Vec<File>,
}

#[daemon(
    configure = configure,
    privileged_init = open,
    started = "the tunnel is up: {pid}",
    keep_fds_from = ["WG_TUN_FD"],
    user = "nobody",
    umask = 0o077
)]
fn main(tunnel: Tunnel) {
    let mut queues = Vec::new();
    for device in tunnel.devices {
        let (queue, packets) = channel();
        thread::spawn(move || send(device, packets));
        queues.push(queue);
    }
    thread::spawn(move || receive(tunnel.tun, &queues));
    eprintln!("port_tunnel: {VARIABLE} is {:?}", env::var(VARIABLE));
    shutdown().wait();
}

fn configure(daemon: &mut Daemon) -> Result<(File, Options), Box<dyn Error>> {
    let options = Options::parse();
    let number = match (options.tun_fd, env::var(VARIABLE)) {
        (Some(number), _) => number,
        (None, Ok(number)) => number.parse()?,
        (None, Err(_)) => return Err(format!("give --tun-fd or {VARIABLE}").into()),
    };
    let tun = daemon.keep_fd(number)?;
    daemon.pidfile(&options.pidfile).stderr(&options.log);
    if options.foreground {
        daemon.mode(Mode::Foreground);
    }
    Ok((tun.into(), options))
}

/// As root: a thread for each device, all of which have ended when the privileges are dropped.
fn open((tun, options): (File, Options)) -> Result<Tunnel, Box<dyn Error>> {
    let open = |path: PathBuf| {
        let linger = options.linger;
        thread::spawn(move || {
            let opened = open_device(&path);
            if linger {
                thread::spawn(thread::park);
            }
            opened
        })
    };
    let opening: Vec<_> = options.devices.into_iter().map(open).collect();
    let mut devices = Vec::new();
    for thread in opening {
        devices.push(thread.join().map_err(|_| "a thread has panicked")??);
    }
    Ok(Tunnel { tun, devices })
}

fn open_device(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|error| format!("device {}: {error}", path.display()))
}

/// From the tunnel to all devices.
fn receive(tun: File, queues: &[Sender<String>]) {
    for packet in BufReader::new(tun).lines().map_while(io::Result::ok) {
        for queue in queues {
            _ = queue.send(packet.clone());
        }
    }
}

fn send(mut device: File, packets: Receiver<String>) {
    for packet in packets {
        if let Err(error) = writeln!(device, "{packet}") {
            eprintln!("port_tunnel: a packet is lost: {error}");
        }
    }
}
