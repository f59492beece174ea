//! A task queue in the shape of pueue's daemon: it stays in the foreground, unless `-d` or its
//! configuration file says otherwise. Each line that a client sends is a shell command, and its answer
//! the status of that.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::{fs, thread};

use clap::Parser;
use daemon_rt::{Daemon, Mode, daemon, listen, shutdown};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A task queue.
#[derive(Parser)]
struct Options {
    /// Detach
    #[arg(short, long, conflicts_with = "foreground")]
    daemonize: bool,
    /// Stay in the foreground, whatever the configuration says
    #[arg(short, long)]
    foreground: bool,
    /// The configuration file
    #[arg(short, long, default_value = "port_queue.conf")]
    config: PathBuf,
}

/// What the configuration file says, in lines `KEY = VALUE`.
#[derive(Default)]
struct Config {
    daemonize: bool,
    directory: PathBuf,
}

impl Config {
    fn read(path: &PathBuf) -> Result<Self, Box<dyn Error>> {
        let mut config = Self::default();
        let named = |error| format!("{}: {error}", path.display());
        for line in fs::read_to_string(path).map_err(named)?.lines() {
            match line.split_once(" = ") {
                Some(("daemonize", value)) => config.daemonize = value.parse()?,
                Some(("directory", value)) => config.directory = value.into(),
                _ => return Err(format!("{}: what is {line:?}?", path.display()).into()),
            }
        }
        Ok(config)
    }
}

#[daemon(configure = configure, init = open, umask = 0o077, mode = "foreground")]
fn main(listener: UnixListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    while is_called(&listener) {
        while let Ok((client, _)) = listener.accept() {
            thread::spawn(move || work(&client));
        }
    }
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<PathBuf, Box<dyn Error>> {
    let options = Options::parse();
    let config = Config::read(&options.config)?;
    if options.daemonize || config.daemonize && !options.foreground {
        daemon.mode(Mode::Detach);
    }
    let directory = std::path::absolute(config.directory)?;
    daemon.pidfile(directory.join("service.pid"));
    daemon.stdout(directory.join("log"));
    Ok(directory.join("socket"))
}

fn open(socket: PathBuf) -> Result<UnixListener, daemon_rt::Error> {
    _ = shutdown(); // from now on a signal is a request
    listen("queue", socket)
}

/// Waits for a client. `false` if it is time to end.
fn is_called(listener: &UnixListener) -> bool {
    let wanted = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut calls = [wanted(listener.as_fd()), wanted(shutdown().as_fd())];
    _ = poll(&mut calls, PollTimeout::NONE);
    !shutdown().requested()
}

/// Does what a client asks for, one task after the other.
fn work(mut client: &UnixStream) {
    for task in BufReader::new(client).lines().map_while(io::Result::ok) {
        println!("{task}");
        let answer = match Command::new("/bin/sh").arg("-c").arg(task).status() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if writeln!(client, "{answer}").is_err() {
            return;
        }
    }
}
