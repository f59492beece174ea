//! Controlling a service from outside, by its pidfile, without ever hitting another process.

pub(crate) mod handover;
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) mod keeper;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid, getpid};

use crate::error::Error;
use crate::steps::pidfile::{self, Holder, Life, Phase};
use crate::sys::kept::Kept;
use crate::sys::safe_open::SafePath;
use crate::sys::{self, proc, retry};

/// How long a process may take to end that was killed: it may have much memory to give back.
pub(crate) const DYING: Duration = Duration::from_secs(10);

/// How long a process is looked for whose pid ends between two looks.
const DOUBT: Duration = Duration::from_secs(1);

/// How often it is looked whether a process has ended, where no event says so.
const PAUSE: Duration = Duration::from_millis(10);

/// The control of a service, by its pidfile.
///
/// A service of this library says by locks on single bytes of its pidfile that it runs, whether it
/// is ready, and which process it is. So asking takes no lock, never makes a start fail, and needs
/// neither /proc nor a right over the service. Where nothing is said (another program's pidfile)
/// its flock(2) is tested by sharing it for a moment.
///
/// Before a signal is sent the lock is checked once more after a descriptor of the process
/// (pidfd_open(2)) is open, so that a process that has got the number of a dead daemon is never
/// hit. Waiting is for an event, not by asking again and again. Without pidfd_open(2) (before Linux
/// 5.3, or where a filter forbids it) the locks have to do.
///
/// Root trusts no file that another user can write. An ordinary user can control the services of
/// that user alone.
///
/// ```no_run
/// use daemon_rt::control::{Control, Status};
///
/// let control = Control::new("/run/greeter.pid");
/// if let Status::Running { pid, .. } = control.status()? {
///     println!("the greeter runs as process {pid}");
/// }
/// # Ok::<(), daemon_rt::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Control {
    pidfile: PathBuf,
    /// The service cannot remove its pidfile: one that no process holds says nothing.
    leaves_pidfile: bool,
}

/// What a service is doing, as its pidfile and lock tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It runs, and is ready.
    Running {
        /// The process.
        pid: i32,
        /// When the process was started; `None` where the system does not say (/proc is missing, or
        /// hides it).
        since: Option<SystemTime>,
    },
    /// It runs, and is ready, in another pid namespace: in a container that shares the pidfile,
    /// say. No signal can be sent to it from here.
    RunningElsewhere {
        /// The number of the process there.
        pid: i32,
    },
    /// It is starting, and not ready yet.
    Starting {
        /// The process; `None` if it has not written its pid, or is in another pid namespace.
        pid: Option<i32>,
    },
    /// It has ended without removing its pidfile, which names this process if it names one. The
    /// file is stale: its lock is free.
    Dead {
        /// The process that wrote it.
        pid: Option<i32>,
    },
    /// There is no pidfile.
    NotRunning,
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// What came of [`Control::stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It did not run.
    NotRunning,
    /// It has ended in time after SIGTERM.
    Terminated {
        /// The process that has ended.
        pid: i32,
    },
    /// It did not, and was ended by SIGKILL.
    Killed {
        /// The process that has ended.
        pid: i32,
    },
}

/// What came of [`Control::reload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reloaded {
    /// The service has reloaded.
    Done,
    /// SIGHUP was sent. The service does not say when it has reloaded.
    Requested,
}

/// A running service.
pub(crate) struct Instance {
    pub(crate) pid: Pid,
    phase: Phase,
    process: Handle,
}

/// What makes sure that a number still is the process's.
enum Handle {
    Pidfd(Kept),
    /// There are no pidfds: the pidfile, on which the process has a lock for as long as it lives.
    Pidfile(File),
}

/// What the pidfile tells.
enum Found {
    /// There is none.
    Nothing,
    /// No process holds it. It names this one, if it names one.
    Stale(Option<Pid>),
    Held(Holder),
    /// It cannot be told, for this reason.
    Unknown(String),
}

impl Control {
    /// The control of the service that has this pidfile. A relative path means the current
    /// directory of now.
    pub fn new(pidfile: impl Into<PathBuf>) -> Self {
        let pidfile = pidfile.into();
        let pidfile = std::path::absolute(&pidfile).unwrap_or(pidfile);
        Self {
            pidfile,
            leaves_pidfile: false,
        }
    }

    /// The same for a service that cannot remove its pidfile at its end: where no process holds it,
    /// that says nothing, and the service is not running.
    #[cfg(feature = "cli")]
    pub(crate) fn of_one_that_leaves_its_pidfile(pidfile: impl Into<PathBuf>) -> Self {
        Self {
            leaves_pidfile: true,
            ..Self::new(pidfile)
        }
    }

    /// What the service is doing.
    ///
    /// # Errors
    /// If the pidfile does not pass the ownership checks. One that cannot be read is
    /// [`Status::Unknown`].
    pub fn status(&self) -> Result<Status, Error> {
        Ok(match self.find()? {
            Found::Nothing => Status::NotRunning,
            Found::Stale(_) if self.leaves_pidfile => Status::NotRunning,
            Found::Stale(pid) => Status::Dead {
                pid: pid.map(Pid::as_raw),
            },
            Found::Held(Holder::Main(pid, Phase::Ready)) => Status::Running {
                pid: pid.as_raw(),
                since: proc::started(pid),
            },
            Found::Held(Holder::Main(pid, Phase::Starting)) => Status::Starting {
                pid: Some(pid.as_raw()),
            },
            Found::Held(Holder::Elsewhere(pid, Phase::Ready)) => {
                Status::RunningElsewhere { pid: pid.as_raw() }
            }
            Found::Held(Holder::Elsewhere(_, Phase::Starting) | Holder::Unnamed) => {
                Status::Starting { pid: None }
            }
            Found::Held(holder) => Status::Unknown(in_words(holder)),
            Found::Unknown(why) => Status::Unknown(why),
        })
    }

    /// The older instances that have handed the service over in a restart, and are still finishing
    /// their requests.
    ///
    /// # Errors
    /// If the pidfile cannot be read, or does not pass the ownership checks.
    pub fn old_instances(&self) -> Result<Vec<i32>, Error> {
        match open(&self.pidfile) {
            Ok(Some(file)) => Ok(pidfile::old_instances(file.as_fd())
                .into_iter()
                .map(Pid::as_raw)
                .collect()),
            Ok(None) => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.error("the pidfile", error)),
        }
    }

    /// Ends the service: SIGTERM (and SIGCONT, should it be stopped), and SIGKILL if it has not
    /// ended after `patience`. The [`old_instances`](Self::old_instances) end with it: they have
    /// had their SIGTERM.
    ///
    /// A manager that runs the service may start it again. The command `stop` has the manager stop
    /// it; this does not.
    ///
    /// # Errors
    /// If it cannot be told whether the service runs, or the caller may not end it.
    pub fn stop(&self, patience: Duration) -> Result<Stopped, Error> {
        let began = Instant::now();
        let old = self.old()?;
        let stopped = self.end(patience)?;
        for instance in old {
            let left = patience.saturating_sub(began.elapsed());
            instance
                .ends_or_is_killed(left)
                .map_err(|error| self.error(instance.pid, error))?;
        }
        if self.leaves_pidfile || stopped != Stopped::NotRunning {
            // Where it cannot be removed, it says that the service has died.
            _ = pidfile::remove_stale(&self.pidfile, || handover::clean_up(&self.pidfile));
        }
        Ok(stopped)
    }

    /// The same, but what it leaves stays.
    pub(crate) fn end(&self, patience: Duration) -> Result<Stopped, Error> {
        let Some(instance) = self.instance()? else {
            return Ok(Stopped::NotRunning);
        };
        let pid = instance.pid.as_raw();
        self.send(&instance, libc::SIGTERM)?;
        self.send(&instance, libc::SIGCONT)?;
        if instance
            .ends_or_is_killed(patience)
            .map_err(|error| self.error(pid, error))?
        {
            return Ok(Stopped::Terminated { pid });
        }
        Ok(Stopped::Killed { pid })
    }

    /// Whether the service says that it stays in the foreground.
    pub(crate) fn stays_in_foreground(&self) -> bool {
        matches!(open(&self.pidfile), Ok(Some(file)) if pidfile::is_foreground(file.as_fd()))
    }

    /// The older instances.
    fn old(&self) -> Result<Vec<Instance>, Error> {
        let mut opened = Vec::new();
        for pid in self.old_instances()? {
            if let Ok(process) = sys::pidfd_open(Pid::from_raw(pid)).and_then(Kept::new) {
                let process = Handle::Pidfd(process);
                opened.push(Instance {
                    pid: Pid::from_raw(pid),
                    phase: Phase::Ready,
                    process,
                });
            }
        }
        // Those that still are: an opened number may have become a stranger's before.
        let still = self.old_instances()?;
        opened.retain(|instance| still.contains(&instance.pid.as_raw()));
        Ok(opened)
    }

    /// Sends a signal to the service, by its number.
    ///
    /// # Errors
    /// If the service does not run, that cannot be told, or the caller may not signal it.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.send(&self.running()?, signal)
    }

    /// Has the service reload: waits until it is done, for at most `patience`, where the service
    /// uses [`reloads`](crate::reloads) and has a control socket (the argument `cli`), and just
    /// sends SIGHUP elsewhere.
    ///
    /// # Errors
    /// If the service does not run, does not reload in time, says that it could not
    /// ([`Reload::failed`], or a panic), or the caller may not make it; also where a service with a
    /// control socket says that SIGHUP would end it.
    ///
    /// [`Reload::failed`]: crate::Reload::failed
    pub fn reload(&self, patience: Duration) -> Result<Reloaded, Error> {
        let instance = self.running()?;
        if instance.phase == Phase::Starting {
            return Err(self.error(instance.pid, io::Error::other("it is not ready yet")));
        }
        let done = handover::ask_to_reload(&self.pidfile, &instance, patience);
        if done.map_err(|error| self.error(instance.pid, error))? {
            return Ok(Reloaded::Done);
        }
        self.send(&instance, libc::SIGHUP)?;
        Ok(Reloaded::Requested)
    }

    /// The service, which must be running.
    fn running(&self) -> Result<Instance, Error> {
        self.instance()?
            .ok_or_else(|| self.error("the service", io::Error::other("it is not running")))
    }

    fn find(&self) -> Result<Found, Error> {
        let file = match open(&self.pidfile) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Found::Held(Holder::Main(getpid(), Phase::Ready))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.without_pidfile());
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Found::Unknown(format!(
                    "the pidfile cannot be read: {error}"
                )));
            }
            Err(error) => return Err(self.error("the pidfile", error)),
        };
        match pidfile::find(file.as_fd(), &self.pidfile) {
            Ok(pidfile::Found::Held(holder)) => Ok(Found::Held(holder)),
            Ok(pidfile::Found::Free(pid)) => Ok(Found::Stale(pid)),
            Ok(pidfile::Found::Lost(pid)) => {
                let words = format!(
                    "the pidfile is free: pid {pid}, which it names, lives but does not hold the lock"
                );
                Ok(Found::Unknown(words))
            }
            Err(error) => Err(self.error("the pidfile", error)),
        }
    }

    /// There is no pidfile. systemd, for one, removes that of a unit whose start has failed,
    /// whoever it names: a service that listens on its control socket runs all the same.
    fn without_pidfile(&self) -> Found {
        match pidfile::listener(&self.pidfile) {
            Some(Life::Here(pid)) => Found::Held(Holder::Main(pid, Phase::Ready)),
            Some(Life::Elsewhere) => {
                let why = "its pidfile is missing, but in another pid namespace a process answers on its control socket";
                Found::Unknown(why.to_owned())
            }
            Some(Life::Unsaid) | None => Found::Nothing,
        }
    }

    /// The service, if it runs.
    pub(crate) fn instance(&self) -> Result<Option<Instance>, Error> {
        let unknown = |why: String| Err(self.error("the service", io::Error::other(why)));
        let began = Instant::now();
        loop {
            let (pid, phase) = match self.find()? {
                Found::Nothing | Found::Stale(_) => return Ok(None),
                Found::Held(Holder::Main(pid, phase)) => (pid, phase),
                Found::Held(Holder::Elsewhere(pid, _)) => {
                    return unknown(format!(
                        "it runs in another pid namespace, as pid {pid} there"
                    ));
                }
                Found::Held(Holder::Unnamed) => {
                    return unknown("it is starting, and has not written its pid".to_owned());
                }
                Found::Held(holder) => return unknown(in_words(holder)),
                Found::Unknown(why) => return unknown(why),
            };
            let process = match sys::pidfd_open(pid) {
                Ok(process) => Handle::Pidfd(
                    Kept::new(process)
                        .map_err(|error| self.error("fstat of a pidfd", error.into()))?,
                ),
                // The number is nobody's, or a thread's by now, which newer kernels call ENOENT.
                Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) if began.elapsed() < DOUBT => {
                    continue;
                }
                Err(error) => self.without_pidfd(pid, error)?,
            };
            // The process that is open now is the service only if the service holds the lock even
            // now.
            if matches!(self.find()?, Found::Held(Holder::Main(still, _)) if still == pid) {
                return Ok(Some(Instance {
                    pid,
                    phase,
                    process,
                }));
            }
            if began.elapsed() > DOUBT {
                return unknown(format!(
                    "it is said to be pid {pid}, and at once not to be: who it is does not settle"
                ));
            }
        }
    }

    /// Where there are no pidfds, the lock that the process has for itself will do.
    fn without_pidfd(&self, pid: Pid, error: Errno) -> Result<Handle, Error> {
        let refused = || self.error(format_args!("pidfd_open of pid {pid}"), error.into());
        if !matches!(error, Errno::ENOSYS | Errno::EPERM) {
            return Err(refused());
        }
        match open(&self.pidfile) {
            Ok(Some(file)) if pidfile::says_alive(file.as_fd(), pid) => Ok(Handle::Pidfile(file)),
            _ => Err(refused()),
        }
    }

    fn send(&self, instance: &Instance, signal: i32) -> Result<(), Error> {
        let failed = |error: Errno| {
            let (call, pid) = (instance.process.call(), instance.pid);
            self.error(
                format_args!("{call}: signal {signal} to pid {pid}"),
                error.into(),
            )
        };
        instance.send(signal).map_err(failed)
    }

    fn error(&self, what: impl std::fmt::Display, error: io::Error) -> Error {
        Error::control(format!("{}: {what}", self.pidfile.display()), error)
    }
}

impl Handle {
    /// The system call by which a signal is sent.
    fn call(&self) -> &'static str {
        match self {
            Self::Pidfd(_) => "pidfd_send_signal",
            Self::Pidfile(_) => "kill",
        }
    }
}

impl Instance {
    /// Ends it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        Ok(self.send(libc::SIGKILL)?)
    }

    fn send(&self, signal: i32) -> nix::Result<()> {
        let sent = match &self.process {
            Handle::Pidfd(process) => match process.get() {
                Ok(process) => sys::pidfd_send_signal(process, signal),
                Err(_) => Err(Errno::EBADF),
            },
            Handle::Pidfile(file) if !pidfile::says_alive(file.as_fd(), self.pid) => return Ok(()),
            Handle::Pidfile(_) => sys::kill(self.pid, signal),
        };
        match sent {
            // It has ended meanwhile.
            Err(Errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Waits for its end, and brings that about where it does not come in time; `true` if it has
    /// ended by itself.
    pub(crate) fn ends_or_is_killed(&self, limit: Duration) -> io::Result<bool> {
        if self.ends_within(limit)? {
            return Ok(true);
        }
        self.kill()?;
        if self.ends_within(DYING)? {
            return Ok(false);
        }
        Err(io::Error::other(format!(
            "still running {DYING:?} after SIGKILL"
        )))
    }

    /// Whether it is known beyond a change of the pidfile.
    pub(crate) fn has_pidfd(&self) -> bool {
        matches!(self.process, Handle::Pidfd(_))
    }

    /// Whether the process ends in time.
    pub(crate) fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        match &self.process {
            Handle::Pidfd(process) => {
                let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
                let mut end = [PollFd::new(process.get()?, PollFlags::POLLIN)];
                Ok(retry(|| poll(&mut end, timeout))? > 0)
            }
            Handle::Pidfile(file) => {
                let began = Instant::now();
                while pidfile::says_alive(file.as_fd(), self.pid) {
                    if began.elapsed() >= limit {
                        return Ok(false);
                    }
                    std::thread::sleep(PAUSE);
                }
                Ok(true)
            }
        }
    }
}

/// What is known of a service whose main process is not.
pub(crate) fn in_words(holder: Holder) -> String {
    match holder {
        Holder::LeftBehind { .. } => holder.to_string(),
        _ => format!("the pidfile is {holder}"),
    }
}

/// Opens a pidfile to read it. What root relies on must be root's alone. `None` where this process
/// is the service, for to close the file would take away what says that.
fn open(path: &Path) -> io::Result<Option<File>> {
    if !path.is_absolute() {
        return Err(io::Error::other(
            "the path is relative to a directory that is unknown",
        ));
    }
    let place = SafePath::of(path)?;
    if pidfile::is_held_here(&place.stat()?) {
        return Ok(None);
    }
    let (file, found) = place.open(OFlag::O_RDONLY)?;
    let others = Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    if geteuid().is_root() && (found.st_uid != 0 || others) {
        return Err(io::Error::other("another user than root can write it"));
    }
    Ok(Some(File::from(file)))
}
