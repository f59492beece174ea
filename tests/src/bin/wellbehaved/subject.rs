//! The command that is looked at, its starts, and the daemons that come of them.

use std::{
    cell::Cell,
    env,
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread::sleep,
    time::{Duration, Instant},
};

use daemon_tests::{Launch, Proc, Running, Scene};

/// A starter that takes longer hangs, or stays in the foreground.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// How long a daemon that outlives its starter gets until it is as it wants to be.
const SETTLING: Duration = Duration::from_secs(3);

pub(crate) struct Subject {
    program: PathBuf,
    args: Vec<OsString>,
    pidfile: Option<PathBuf>,
    pub(crate) stop_signal: i32,
    detaches: Cell<bool>,
}

impl Subject {
    pub(crate) fn new(mut command: Vec<OsString>, pidfile: Option<PathBuf>, stop_signal: i32) -> Result<Self, String> {
        let program = find_program(&command.remove(0))?;
        if !(1..=64).contains(&stop_signal) {
            return Err(format!("there is no signal {stop_signal}"));
        }
        let pidfile = pidfile.map(|path| resolve(&path)).transpose()?;
        Ok(Self { program, args: command, pidfile, stop_signal, detaches: Cell::new(false) })
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
        self.detaches.get()
    }

    /// Nothing is at the pidfile's path.
    pub(crate) fn clear(&self) {
        if let Some(path) = &self.pidfile {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }

    /// The command, in an ordinary place.
    pub(crate) fn launch<'s>(&self, scene: &'s Scene) -> Launch<'s> {
        scene.launch(&self.program).args(&self.args)
    }

    /// Starts it, waits for the starter's end and for the daemon to be as it wants to be.
    pub(crate) fn start<'s>(&self, scene: &'s Scene, launch: Launch<'s>) -> Start {
        let mut start = Start::of(launch.spawn());
        if start.says_ready() {
            let daemon = within(SETTLING, || self.find(scene).filter(|found| self.is_named(found)));
            sleep(Duration::from_millis(200)); // It may go on changing after its starter's end.
            start.daemon = self.find(scene).or(daemon);
            self.detaches.set(self.detaches.get() || start.daemon.is_some());
        }
        start
    }

    /// The daemon: who the pidfile names, or the oldest process that is left to init.
    fn find(&self, scene: &Scene) -> Option<Proc> {
        let mut left = scene.processes();
        if let Some(named) = left.iter().position(|process| self.pidfile.is_some() && self.is_named(process)) {
            return Some(left.swap_remove(named));
        }
        left.into_iter().find(is_left_to_init)
    }

    /// The pidfile names it, if there is to be one.
    pub(crate) fn is_named(&self, process: &Proc) -> bool {
        self.pidfile.is_none() || self.pid_in_pidfile() == Some(process.pid())
    }

    pub(crate) fn pid_in_pidfile(&self) -> Option<i32> {
        fs::read_to_string(self.pidfile.as_ref()?).ok()?.trim().parse().ok()
    }
}

/// What came of a start.
pub(crate) struct Start {
    pub(crate) starter: i32,
    /// `None`: it has not ended in time.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) pipes_closed: bool,
    pub(crate) daemon: Option<Proc>,
}

impl Start {
    /// Waits for the end of the starter.
    pub(crate) fn of(running: Running<'_>) -> Self {
        let starter = running.pid();
        if !holds_within(LIMIT, || !running.is_running()) {
            return Self { starter, status: None, pipes_closed: false, daemon: None };
        }
        let outcome = running.wait();
        Self { starter, status: Some(outcome.status), pipes_closed: outcome.pipes_closed, daemon: None }
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
            None => format!("it has not ended within {} s", LIMIT.as_secs()),
            Some(status) => match status.code() {
                Some(code) => format!("status {code}"),
                None => format!("signal {}", status.signal().unwrap_or_default()),
            },
        }
    }

    /// The daemon, or an end of this look.
    pub(crate) fn daemon(&self) -> &Proc {
        self.daemon.as_ref().unwrap_or_else(|| panic!("no daemon came of the start: {}", self.ended()))
    }
}

/// Its parent is the keeper, which stands for init.
pub(crate) fn is_left_to_init(process: &Proc) -> bool {
    Proc::new(process.stat().ppid).and_then(|parent| parent.name()).as_deref() == Some("keeper")
}

/// Waits until there is such a thing.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
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
    let found = match given.components().count() {
        1 if !given.is_absolute() => env::split_paths(&path).map(|dir| dir.join(given)).find(|path| path.is_file()),
        _ => fs::canonicalize(given).ok().filter(|path| path.is_file()),
    };
    found.ok_or_else(|| format!("there is no program {}", given.display()))
}

/// The pidfile's path without links in it. As things are going to be put there and taken away, it must be free.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} is no path of a pidfile", path.display()));
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let directory = fs::canonicalize(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = directory.join(name);
    if path.symlink_metadata().is_ok() {
        return Err(format!("{} is there already: stop the service, and remove it", path.display()));
    }
    Ok(path)
}
