//! Sockets by their names: from a manager, over restarts, and opened by the service. The witnesses
//! are the test's own connections.
//!
//! | module | holds |
//! | --- | --- |
//! | `names` | E1, D8: which of the passed sockets is meant, and who owns a descriptor |
//! | `moved` | E2: addresses that change, sockets that no one takes |
//! | `many` | E3: more sockets than a message carries |
//! | `cost` | what each of them costs |
//! | `ending` | E4, E5, E10: the end of the old instance, and what it knows of it |
//! | `hostile` | E6: a service that obeys the protocol, to harm who controls it |
//! | `files` | the socket files of Unix sockets |
//! | `long` | C8: paths of any length |

mod cost;
mod ending;
mod files;
mod hostile;
mod long;
mod many;
mod moved;
mod names;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_harness::{Launch, Proc, Scene, Started, bin};
use nix::sys::resource::{Resource, rlim_t};

/// The service `listening` in a scene, with what a test has it listen on.
#[derive(Clone)]
struct Listening<'s> {
    scene: &'s Scene,
    pidfile: PathBuf,
    words: String,
}

impl<'s> Listening<'s> {
    fn new(scene: &'s Scene) -> Self {
        Self {
            scene,
            pidfile: scene.pidfile(),
            words: String::new(),
        }
    }

    /// With this pidfile.
    fn at(&self, pidfile: impl Into<PathBuf>) -> Self {
        Self {
            pidfile: pidfile.into(),
            ..self.clone()
        }
    }

    /// With these words besides.
    fn with(&self, words: impl AsRef<str>) -> Self {
        Self {
            words: format!("{} {}", self.words, words.as_ref()),
            ..self.clone()
        }
    }

    fn command(&self, line: &str) -> Launch<'s> {
        let (pidfile, places) = (self.pidfile.display(), self.places());
        let words = format!(
            "{} pidfile={pidfile} places={}",
            self.words,
            places.display()
        );
        self.scene
            .launch(bin("listening"))
            .args(line.split_whitespace())
            .env("LISTENING", words)
    }

    /// The same with so many descriptors at most.
    fn limited(&self, line: &str, descriptors: rlim_t) -> Launch<'s> {
        let limit = Resource::RLIMIT_NOFILE;
        self.command(line).rlimit(limit, descriptors, descriptors)
    }

    fn run(&self, line: &str) -> Started {
        self.command(line).run()
    }

    /// The daemon after a good start.
    #[track_caller]
    fn start(&self) -> Proc {
        self.run("start").assert_ready();
        self.owner()
    }

    /// After a good restart; what it said.
    #[track_caller]
    fn restart(&self) -> String {
        let restarted = self.run("restart");
        restarted.assert_ready();
        restarted.stderr
    }

    /// The process that the pidfile names, which lives.
    #[track_caller]
    fn owner(&self) -> Proc {
        let named = fs::read_to_string(&self.pidfile).expect("a pidfile");
        let process = Proc::new(named.trim().parse().expect("a pid")).expect("a process");
        assert!(!process.is_gone());
        process
    }

    fn places(&self) -> PathBuf {
        self.scene.path("places")
    }

    /// Where it says that it listens, by name; of several by one name the last.
    fn listens(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.places()).expect("places");
        let pairs = text
            .lines()
            .map(|line| line.split_once(' ').expect("a name and a place"));
        pairs
            .map(|(name, place)| (name.to_owned(), place.to_owned()))
            .collect()
    }
}

/// Who answers at this address: the socket's name, and a pid.
fn ask(address: &str) -> io::Result<(String, i32)> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    answer(connection)
}

/// The same for the path of a Unix socket.
fn ask_at(path: &Path) -> io::Result<(String, i32)> {
    let connection = UnixStream::connect(path)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    answer(connection)
}

fn answer(connection: impl Read) -> io::Result<(String, i32)> {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    let answer = line
        .trim()
        .split_once(' ')
        .and_then(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?)));
    answer.ok_or_else(|| io::Error::other(format!("cut short: {line:?}")))
}
