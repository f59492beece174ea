//! A service that greets over TCP: who sends a name gets `hello NAME` back. The managers of
//! `examples/managers/` start it, all of them this same binary, and it shows what a service says to
//! a manager, and hears from it.
//!
//! ```text
//! greeter [address=IP:PORT] [pidfile=PATH] [user=NAME] [log=PATH] [words=FILE] [warm_up=SECONDS] [keep]
//! ```
//!
//! The greeting is the text of the file `words`, read again at SIGHUP. `warm_up` makes the start
//! slow, with progress. With `keep` the connections outlive a restart, in the store of a manager
//! that has one. Who sends `hang` hangs it.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use daemon_rt::{
    Daemon, Reloads, daemon, listeners, reloads, shutdown, status, store_fd, watchdog,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    address: String,
    words: Option<PathBuf>,
    warm_up: u32,
    keep: bool,
}

struct Greeter {
    public: TcpListener,
    /// Answers with the number of connections; only where the manager passes a socket of this name.
    admin: Option<UnixListener>,
    peers: Vec<TcpStream>,
    words: Arc<Mutex<String>>,
    keep: bool,
}

#[daemon(configure = configure, init = init, umask = 0o022)]
fn main(greeter: Greeter) -> Result<()> {
    greeter.serve()
}

/// On the terminal of whoever starts it: the command line.
fn configure(daemon: &mut Daemon) -> Result<Options> {
    let mut options = Options {
        address: "127.0.0.1:7007".to_owned(),
        words: None,
        warm_up: 0,
        keep: false,
    };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("address", address)) => address.clone_into(&mut options.address),
            Some(("pidfile", path)) => drop(daemon.pidfile(path)),
            Some(("user", name)) => drop(daemon.user(name)),
            Some(("log", path)) => drop(daemon.stdout(path).stderr(path)),
            Some(("words", path)) => options.words = Some(std::path::absolute(path)?),
            Some(("warm_up", seconds)) => options.warm_up = seconds.parse()?,
            None if argument == "keep" => options.keep = true,
            _ => return Err(format!("unknown option {argument:?}").into()),
        }
    }
    Ok(options)
}

/// When this returns, the service is ready, and its manager is told.
fn init(options: Options) -> Result<Greeter> {
    // Asked for now, so that neither signal ends a service that is ready.
    let (_, reloads) = (shutdown(), reloads());
    for second in 0..options.warm_up {
        status(&format!(
            "warming up: {} of {} seconds",
            second + 1,
            options.warm_up
        ));
        thread::sleep(Duration::from_secs(1));
    }
    let words = Arc::new(Mutex::new(read(&options)?));
    let greeter = Greeter::open(&options, Arc::clone(&words))?;
    thread::spawn(move || follow(reloads, &options, &words));
    Ok(greeter)
}

fn read(options: &Options) -> Result<String> {
    let Some(path) = &options.words else {
        return Ok("hello".to_owned());
    };
    let words = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(words.trim().to_owned())
}

/// Reads the configuration again at each request to reload; what cannot be read changes nothing.
fn follow(reloads: Reloads, options: &Options, words: &Mutex<String>) {
    for reload in reloads {
        match read(options) {
            Ok(new) => *words.lock().expect("no panic") = new,
            Err(error) => reload.failed(error.to_string()),
        }
    }
}

impl Greeter {
    /// Takes what the manager passes, by its name, and makes the rest itself.
    fn open(options: &Options, words: Arc<Mutex<String>>) -> Result<Self> {
        let (mut public, mut admin, mut peers) = (None, None, Vec::new());
        for passed in listeners()? {
            match passed.name() {
                "admin" => admin = Some(passed.try_into()?),
                "peer" => peers.push(passed.try_into()?),
                _ => public = Some(passed.try_into()?),
            }
        }
        let public = if let Some(passed) = public {
            passed
        } else {
            let own = TcpListener::bind(&options.address)?;
            if options.keep {
                store_fd("public", &own)?;
            }
            own
        };
        Ok(Self {
            public,
            admin,
            peers,
            words,
            keep: options.keep,
        })
    }

    fn serve(mut self) -> Result<()> {
        while !shutdown().requested() {
            watchdog().ping();
            self.turn()?;
        }
        Ok(())
    }

    /// Waits until there is something to do, at most until it is time for the next ping, and does
    /// it.
    fn turn(&mut self) -> Result<()> {
        let timeout = watchdog()
            .interval()
            .map(PollTimeout::try_from)
            .transpose()?;
        let admin = self.admin.iter().map(AsFd::as_fd);
        let peers = self.peers.iter().map(AsFd::as_fd);
        let all = [shutdown().as_fd(), self.public.as_fd()]
            .into_iter()
            .chain(admin)
            .chain(peers);
        let mut all: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut all, timeout) {
            Err(Errno::EINTR) => return Ok(()),
            result => result?,
        };
        let mut ready: Vec<_> = all
            .iter()
            .skip(1)
            .map(|fd| fd.any().unwrap_or_default())
            .collect();
        let public_ready = ready.remove(0);
        if self.admin.is_some() && ready.remove(0) {
            self.administer()?;
        }
        let mut ready = ready.into_iter();
        self.peers
            .retain_mut(|peer| !ready.next().unwrap_or_default() || answer(peer, &self.words));
        if public_ready {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let (peer, _) = self.public.accept()?;
        if self.keep {
            store_fd("peer", &peer)?;
        }
        self.peers.push(peer);
        Ok(())
    }

    fn administer(&self) -> io::Result<()> {
        let Some(admin) = &self.admin else {
            return Ok(());
        };
        writeln!(admin.accept()?.0, "{}", self.peers.len())
    }
}

/// Whether the peer stays. The connection of one that leaves is shut down, as the manager may hold
/// it, too, and forgets it by this.
fn answer(peer: &mut TcpStream, words: &Mutex<String>) -> bool {
    let stays = greet(peer, words).unwrap_or(false);
    if !stays {
        _ = peer.shutdown(Shutdown::Both);
    }
    stays
}

/// Answers one request; whether the peer may have more.
fn greet(peer: &mut TcpStream, words: &Mutex<String>) -> io::Result<bool> {
    let mut name = [0; 256];
    let length = peer.read(&mut name)?;
    let name = String::from_utf8_lossy(&name[..length]);
    if name == "hang" {
        loop {
            thread::park();
        }
    }
    if length > 0 {
        writeln!(
            peer,
            "{} {}",
            words.lock().expect("no panic"),
            name.trim_end()
        )?;
    }
    Ok(length > 0)
}
