//! The command that is looked at, its starts, and the daemons that come of them.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use daemon_harness::{Launch, Proc, Running, Scene};
use nix::unistd::{AccessFlags, access};

use crate::interruption;

pub(crate) struct Subject {
    program: PathBuf,
    args: Vec<OsString>,
    pidfile: Option<PathBuf>,
    pub(crate) stop_signal: i32,
    status_command: Option<OsString>,
    /// A starter that takes longer hangs, or stays in the foreground.
    pub(crate) patience: Duration,
    /// How many processes a start leaves to init; `None`: no start has ended with a daemon so far.
    usual: Cell<Option<usize>>,
}

impl Subject {
    pub(crate) fn new(
        mut command: Vec<OsString>,
        pidfile: Option<PathBuf>,
        stop_signal: i32,
        patience: Duration,
    ) -> Result<Self, String> {
        let program = find_program(&command.remove(0))?;
        let pidfile = pidfile.map(|path| resolve(&path)).transpose()?;
        let (status_command, usual) = (None, Cell::new(None));
        Ok(Self {
            program,
            args: command,
            pidfile,
            stop_signal,
            status_command,
            patience,
            usual,
        })
    }

    pub(crate) fn with_status_command(self, status_command: Option<OsString>) -> Self {
        Self {
            status_command,
            ..self
        }
    }

    pub(crate) fn status_command(&self) -> Option<&OsStr> {
        self.status_command.as_deref()
    }

    pub(crate) fn pidfile(&self) -> Option<&Path> {
        self.pidfile.as_deref()
    }

    /// The pidfile, where there is no question without one.
    pub(crate) fn path(&self) -> &Path {
        self.pidfile().expect("a pidfile")
    }

    /// A start of it has ended with a daemon.
    pub(crate) fn detaches(&self) -> bool {
        self.usual.get().is_some()
    }

    /// One daemon runs: as many processes are left to init as after a single start. (A daemon may
    /// consist of several.)
    pub(crate) fn is_one(&self, scene: &Scene) -> bool {
        Some(left_to_init(scene)) == self.usual.get()
    }

    /// Another name beside the pidfile, for what has two.
    pub(crate) fn other_name(&self) -> PathBuf {
        other_name(self.path())
    }

    /// Nothing is at the pidfile's path.
    pub(crate) fn clear(&self) {
        if let Some(path) = &self.pidfile {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
            let _ = fs::remove_file(other_name(path));
        }
    }

    /// The command, in an ordinary place.
    pub(crate) fn launch<'s>(&self, scene: &'s Scene) -> Launch<'s> {
        scene.launch(&self.program).args(&self.args)
    }

    /// Starts it, waits for the starter's end and for the daemon to be as it wants to be.
    pub(crate) fn start<'s>(&self, scene: &'s Scene, launch: Launch<'s>) -> Start {
        let mut start = self.run(launch);
        if start.says_ready() {
            let settling = self.patience / 3;
            let daemon = within(settling, || {
                self.find(scene).filter(|found| self.is_named(found))
            });
            sleep(Duration::from_millis(200)); // It may go on changing after its starter's end.
            start.daemon = self.find(scene).or(daemon);
            if start.daemon.is_some() {
                self.usual.set(Some(left_to_init(scene)));
            }
        }
        start
    }

    /// Starts it, and waits for the starter's end only.
    pub(crate) fn run(&self, launch: Launch<'_>) -> Start {
        Start::of(launch.spawn(), self.patience)
    }

    /// The daemon: who the pidfile names, or the oldest process that is left to init.
    pub(crate) fn find(&self, scene: &Scene) -> Option<Proc> {
        let mut left = scene.processes();
        if let Some(named) = left
            .iter()
            .position(|process| self.pidfile.is_some() && self.is_named(process))
        {
            return Some(left.swap_remove(named));
        }
        left.into_iter().find(|process| scene.is_top(process))
    }

    /// The pidfile names it, if there is to be one.
    pub(crate) fn is_named(&self, process: &Proc) -> bool {
        self.pidfile.is_none() || self.pid_in_pidfile() == Some(process.pid())
    }

    pub(crate) fn pid_in_pidfile(&self) -> Option<i32> {
        fs::read_to_string(self.pidfile.as_ref()?)
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

/// What came of a start.
pub(crate) struct Start {
    pub(crate) starter: i32,
    /// `None`: it has not ended in time.
    pub(crate) status: Option<ExitStatus>,
    limit: Duration,
    /// What it, or all that it started, wrote to pipes.
    said: String,
    pub(crate) pipes_closed: bool,
    pub(crate) daemon: Option<Proc>,
}

impl Start {
    /// Waits for the end of the starter.
    pub(crate) fn of(running: Running<'_>, limit: Duration) -> Self {
        let starter = running.pid();
        if !holds_within(limit, || !running.is_running()) {
            let said = running.stderr();
            return Self {
                starter,
                status: None,
                limit,
                said,
                pipes_closed: false,
                daemon: None,
            };
        }
        let outcome = running.wait();
        let (status, pipes_closed) = (Some(outcome.status), outcome.pipes_closed);
        Self {
            starter,
            status,
            limit,
            said: outcome.stderr,
            pipes_closed,
            daemon: None,
        }
    }

    /// The starter ended with status 0.
    pub(crate) fn says_ready(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// It ended with another.
    pub(crate) fn is_refused(&self) -> bool {
        self.status.is_some_and(|status| !status.success())
    }

    /// How it ended, in words.
    pub(crate) fn ended(&self) -> String {
        match self.status {
            None => format!("it has not ended within {} s", self.limit.as_secs()),
            Some(status) => match status.code() {
                Some(code) => format!("status {code}"),
                None => format!("signal {}", status.signal().unwrap_or_default()),
            },
        }
    }

    /// The daemon, or an end of this look.
    pub(crate) fn daemon(&self) -> &Proc {
        let said = last_line(&self.said);
        let daemon = self.daemon.as_ref();
        let daemon =
            daemon.unwrap_or_else(|| panic!("no daemon came of the start: {}{said}", self.ended()));
        assert!(
            !daemon.is_gone(),
            "a daemon came of the start, but has ended by itself{said}"
        );
        daemon
    }
}

/// The last line of it that says something, in words that can follow others.
pub(crate) fn last_line(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or(String::new(), |line| format!(", saying: {line}"))
}

/// How many processes are left to init.
pub(crate) fn left_to_init(scene: &Scene) -> usize {
    scene
        .processes()
        .iter()
        .filter(|process| scene.is_top(process))
        .count()
}

/// Waits until there is such a thing. All waiting is done here, so that here an interruption is
/// noticed.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        interruption::check();
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        sleep(Duration::from_millis(3));
    }
}

/// Waits until this holds.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    within(limit, || condition().then_some(())).is_some()
}

/// As a shell finds it.
fn find_program(name: &OsString) -> Result<PathBuf, String> {
    let given = Path::new(name);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = if name.as_bytes().contains(&b'/') {
        // Links stay in it: some programs do what the name says that they are called by.
        std::path::absolute(given)
            .ok()
            .filter(|path| path.is_file())
    } else {
        env::split_paths(&path)
            .map(|dir| dir.join(given))
            .find(|path| path.is_file())
    };
    let found = found.ok_or_else(|| format!("there is no program {}", given.display()))?;
    // As access(2) has it, for root too, who cannot execute what nobody can.
    access(&found, AccessFlags::X_OK)
        .map_err(|error| format!("{} cannot be executed: {error}", found.display()))?;
    Ok(found)
}

/// What is beside the pidfile while a hard link is at its path.
fn other_name(pidfile: &Path) -> PathBuf {
    let mut name = pidfile.as_os_str().to_owned();
    name.push(".wellbehaved");
    name.into()
}

/// The pidfile's path without links in it. As things are going to be put there and taken away, it
/// must be free.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} is no path of a pidfile", path.display()));
    };
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let directory =
        fs::canonicalize(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = directory.join(name);
    for path in [&path, &other_name(&path)] {
        if path.symlink_metadata().is_ok() {
            return Err(format!(
                "{} is there already: stop the service, and remove it",
                path.display()
            ));
        }
    }
    access(&directory, AccessFlags::W_OK)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(path)
}
