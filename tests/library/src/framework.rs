//! A framework for servers in the shape of pingora: the program makes a [`Server`] when it has read its
//! configuration and opened its log, and leaves the rest to it.
//!
//! SIGUSR2 starts the program anew beside the old instance, and leaves the service to it. SIGQUIT ends
//! it when its connections have ended, as does that. SIGTERM ends it at once.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use daemon_rt::control::Control;
use daemon_rt::{listen, shutdown, Daemon, Mode};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use signal_hook::consts::{SIGQUIT, SIGUSR2};
use signal_hook::iterator::Signals;

const PATIENCE: Duration = Duration::from_mins(1);

/// A server, which answers each line with its pid and the line.
pub struct Server {
    /// The program, to be executed for an upgrade.
    pub program: PathBuf,
    /// Where its pidfile is.
    pub pidfile: PathBuf,
    /// Where it listens.
    pub address: String,
    /// How many threads accept connections.
    pub workers: usize,
    /// Whether it detaches.
    pub mode: Mode,
    /// Whether it replaces the instance that runs.
    pub upgrade: bool,
    /// Open before the start.
    pub log: File,
}

/// Set if it is to end when its connections have ended.
static DRAINS: AtomicBool = AtomicBool::new(false);

impl Server {
    /// Serves until it is told to end.
    pub fn run_forever(self) -> ExitCode {
        let mut daemon = Daemon::new();
        daemon.pidfile(&self.pidfile).control_socket();
        daemon.umask(0o022).mode(self.mode);
        if self.upgrade {
            daemon.restart(PATIENCE);
        }
        let server = Arc::new(self);
        let service = daemon
            .hooks()
            .init(|| server.open())
            .main(|listener: TcpListener| server.serve(listener));
        daemon.serve(service)
    }

    fn open(&self) -> Result<TcpListener, Box<dyn Error>> {
        _ = shutdown();
        let listener: TcpListener = listen("http", &*self.address)?;
        listener.set_nonblocking(true)?;
        self.log("listens");
        Ok(listener)
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let (stop, stopped) = UnixStream::pair()?;
        let (listener, stopped) = (Arc::new(listener), Arc::new(stopped));
        // Whoever still works has one: the connections.
        let (working, all_work) = channel::<()>();
        for _ in 0..self.workers {
            let worker = (Arc::clone(&listener), Arc::clone(&stopped), working.clone());
            thread::spawn(move || work(&worker.0, &worker.1, &worker.2));
        }
        drop((listener, working));
        Arc::clone(self).watch_signals()?;
        shutdown().wait();
        if DRAINS.load(Ordering::Relaxed) || shutdown().replaced() {
            self.log("drains");
            drop(stop);
            _ = all_work.recv(); // fails when the last has ended
        }
        self.log("ends");
        Ok(())
    }

    fn watch_signals(self: Arc<Self>) -> io::Result<()> {
        let mut signals = Signals::new([SIGQUIT, SIGUSR2])?;
        thread::spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGQUIT => {
                        DRAINS.store(true, Ordering::Relaxed);
                        shutdown().request();
                    }
                    _ => self.upgrade(),
                }
            }
        });
        Ok(())
    }

    /// Starts a new instance, which tells this one to end when it is ready.
    fn upgrade(&self) {
        let mut program = Command::new(&self.program);
        program.args(env::args_os().skip(1)).args(["-d", "-u"]);
        match Control::new(&self.pidfile).launch(&mut program, PATIENCE) {
            Ok(new) => self.log(&format!("is replaced by {}", new.pid)),
            Err(error) => self.log(&format!("is not replaced: {error}")),
        }
    }

    fn log(&self, text: &str) {
        _ = (&self.log).write_all(format!("{} {text}\n", process::id()).as_bytes());
    }
}

/// Accepts connections until it is told to stop, each for a thread of its own.
fn work(listener: &TcpListener, stopped: &UnixStream, working: &Sender<()>) {
    loop {
        let wanted = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut events = [wanted(listener.as_fd()), wanted(stopped.as_fd())];
        _ = poll(&mut events, PollTimeout::NONE);
        if events[1].any() == Some(true) {
            return;
        }
        if let Ok((peer, _)) = listener.accept() {
            let working = working.clone();
            thread::spawn(move || {
                _ = answer(&peer);
                drop(working);
            });
        }
    }
}

fn answer(mut peer: &TcpStream) -> io::Result<()> {
    peer.set_nonblocking(false)?;
    for line in BufReader::new(peer).lines() {
        peer.write_all(format!("{} {}\n", process::id(), line?).as_bytes())?;
    }
    Ok(())
}
