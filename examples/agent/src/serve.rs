//! The agent: what runs in the background.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use daemon_rt::{Daemon, daemon, shutdown};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Command, Options, Result};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Agent {
    listener: UnixListener,
    socket: PathBuf,
    idle: Duration,
    memory: HashMap<String, String>,
}

// The socket is for this user alone.
#[daemon(name = "agent", pidfile, stderr, configure = configure, init = listen, umask = 0o077)]
pub(crate) fn serve(agent: Agent) -> io::Result<()> {
    agent.answer_until_told_to_end()
}

/// In the process that the client has started. The lock of the pidfile lets one agent through.
fn configure(_: &mut Daemon) -> Result<(PathBuf, Duration)> {
    let Command::Serve { idle } = Options::parse().command else {
        return Err("this is a client".into());
    };
    Ok((crate::socket()?, Duration::from_secs(idle)))
}

/// In the agent: what is there of a socket is a dead agent's, and is replaced. From here on clients
/// can connect.
fn listen((socket, idle): (PathBuf, Duration)) -> Result<Agent> {
    _ = shutdown(); // so that from now on the socket is removed at the end
    let listener: UnixListener = daemon_rt::listen("agent", &socket)?;
    // A client that has gone away while it waited must not hold up the others.
    listener.set_nonblocking(true)?;
    Ok(Agent {
        listener,
        socket,
        idle,
        memory: HashMap::new(),
    })
}

impl Agent {
    /// Answers until it is told to end, or nobody has called for some time.
    fn answer_until_told_to_end(mut self) -> io::Result<()> {
        while self.is_called() {
            self.answer_all();
        }
        // In this order nobody is left without an answer: who finds the socket no more waits until
        // the lock is free and starts another agent, and who has found it is answered.
        fs::remove_file(&self.socket)?;
        self.answer_all();
        Ok(())
    }

    /// Waits for a client. `false` if it is time to end.
    fn is_called(&self) -> bool {
        let wanted = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut calls = [wanted(self.listener.as_fd()), wanted(shutdown().as_fd())];
        // A signal that interrupts it is either the request to end or none of the agent's business.
        let called = poll(
            &mut calls,
            PollTimeout::try_from(self.idle).unwrap_or(PollTimeout::MAX),
        ) != Ok(0);
        called && !shutdown().requested()
    }

    fn answer_all(&mut self) {
        while let Ok((client, _)) = self.listener.accept() {
            // What is wrong with one client is nothing to the others.
            if let Err(error) = self.answer(&client) {
                eprintln!("agent: a client was not answered: {error}");
            }
        }
    }

    /// Answers one request: `+` and a value, or `-` where there is none.
    fn answer(&mut self, mut client: &UnixStream) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut request = String::new();
        BufReader::new(client).read_line(&mut request)?;
        let request: Vec<&str> = request.trim_end_matches('\n').split('\0').collect();
        match self.handle(&request) {
            Some(value) => writeln!(client, "+{value}"),
            None => writeln!(client, "-"),
        }
    }

    fn handle(&mut self, request: &[&str]) -> Option<String> {
        match *request {
            ["set", key, value] => {
                self.memory.insert(key.to_owned(), value.to_owned());
                Some(String::new())
            }
            ["get", key] => self.memory.get(key).cloned(),
            ["count", key] => {
                let number: u64 = self
                    .memory
                    .get(key)
                    .map_or(Some(0), |value| value.parse().ok())?;
                let next = number.checked_add(1)?.to_string();
                self.memory.insert(key.to_owned(), next.clone());
                Some(next)
            }
            _ => None,
        }
    }
}
