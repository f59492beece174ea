//! Controlling a service from outside, by its pidfile, without ever hitting another process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, geteuid};

use crate::error::Error;
use crate::inherited::retry;
use crate::trusted::Place;
use crate::{handover, pidfile, sys};

/// How long a process may take to end that was killed: it may have much memory to give back.
pub(crate) const DYING: Duration = Duration::from_secs(10);

/// How long a pidfile is looked at again whose lock is somebody's whom it does not name.
const DOUBT: Duration = Duration::from_millis(200);

/// The control of a service, by its pidfile.
///
/// Whoever looks does not take the lock to test it, so that asking never makes a start fail. Before a signal is sent
/// the lock is checked once more after a descriptor of the process (pidfd_open(2)) is open, so that a process that has
/// got the number of a dead daemon is never hit. Waiting is for an event, not by asking again and again.
///
/// Root trusts no file that another user can write. An ordinary user can control the services of that user alone.
#[derive(Clone, Debug)]
pub struct Control {
    pidfile: PathBuf,
}

/// What a service is doing, as its pidfile and lock tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It runs.
    Running {
        /// The process.
        pid: i32,
        /// When the process was started.
        since: SystemTime,
    },
    /// It has ended without removing its pidfile, which names this process if it names one. The file is stale: its lock
    /// is free.
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
    process: OwnedFd,
}

/// What the pidfile leads to.
enum Found {
    Instance(Instance),
    Other(Status),
}

impl Control {
    /// The control of the service that has this pidfile.
    pub fn new(pidfile: impl Into<PathBuf>) -> Self {
        Self { pidfile: pidfile.into() }
    }

    /// What the service is doing.
    ///
    /// # Errors
    /// If the pidfile is none that may be trusted. One that may not be read is [`Status::Unknown`].
    pub fn status(&self) -> Result<Status, Error> {
        Ok(match self.find()? {
            Found::Other(status) => status,
            Found::Instance(instance) => {
                let pid = instance.pid.as_raw();
                match started(instance.pid) {
                    Some(since) => Status::Running { pid, since },
                    None => Status::Dead { pid: Some(pid) },
                }
            }
        })
    }

    /// Ends the service: SIGTERM (and SIGCONT, should it be stopped), and SIGKILL if it has not ended after `patience`.
    ///
    /// # Errors
    /// If it cannot be told whether the service runs, or the caller may not end it.
    pub fn stop(&self, patience: Duration) -> Result<Stopped, Error> {
        let Some(instance) = self.instance()? else { return Ok(Stopped::NotRunning) };
        let pid = instance.pid.as_raw();
        self.send(&instance, libc::SIGTERM)?;
        self.send(&instance, libc::SIGCONT)?;
        if instance.ends_within(patience).map_err(|error| self.error(pid, error))? {
            return Ok(Stopped::Terminated { pid });
        }
        self.send(&instance, libc::SIGKILL)?;
        if instance.ends_within(DYING).map_err(|error| self.error(pid, error))? {
            return Ok(Stopped::Killed { pid });
        }
        Err(self.error(pid, io::Error::other("it does not even die of SIGKILL")))
    }

    /// Sends a signal to the service, by its number.
    ///
    /// # Errors
    /// If the service does not run, that cannot be told, or the caller may not signal it.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.send(&self.running()?, signal)
    }

    /// Has the service reload: waits until it is done, for at most `patience`, where the service uses
    /// [`reloads`](crate::reloads) and has a control socket (the argument `cli`), and just sends SIGHUP elsewhere.
    ///
    /// # Errors
    /// If the service does not run, does not reload in time, says that it could not ([`Reload::failed`], or a panic), or the
    /// caller may not make it; also where a service with a control socket says that SIGHUP would end it.
    ///
    /// [`Reload::failed`]: crate::Reload::failed
    pub fn reload(&self, patience: Duration) -> Result<Reloaded, Error> {
        let instance = self.running()?;
        let done = handover::ask_to_reload(&self.pidfile, &instance, patience);
        if done.map_err(|error| self.error(instance.pid, error))? {
            return Ok(Reloaded::Done);
        }
        self.send(&instance, libc::SIGHUP)?;
        Ok(Reloaded::Requested)
    }

    /// The service, which must be running.
    fn running(&self) -> Result<Instance, Error> {
        self.instance()?.ok_or_else(|| self.error("the service", io::Error::other("it is not running")))
    }

    /// The service, if it runs.
    pub(crate) fn instance(&self) -> Result<Option<Instance>, Error> {
        match self.find()? {
            Found::Instance(instance) => Ok(Some(instance)),
            Found::Other(Status::Unknown(why)) => Err(self.error("the service", io::Error::other(why))),
            Found::Other(_) => Ok(None),
        }
    }

    fn find(&self) -> Result<Found, Error> {
        let unknown = |why: String| Ok(Found::Other(Status::Unknown(why)));
        let file = match open(&self.pidfile) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Other(Status::NotRunning)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return unknown(format!("the pidfile may not be read: {error}"));
            }
            Err(error) => return Err(self.error("the pidfile", error)),
        };
        let reading = |error| self.error("the pidfile", error);
        let Some(pid) = pidfile::read_pid(&file).map_err(reading)? else {
            return Ok(Found::Other(if pidfile::is_locked(&file).map_err(reading)? {
                Status::Unknown("it is starting: the pidfile is locked and names nobody yet".to_owned())
            } else {
                Status::Dead { pid: None }
            }));
        };
        let process = match sys::pidfd_open(pid) {
            Ok(process) => process,
            // The number is nobody's, or a thread's by now, which newer kernels call ENOENT.
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return self.dead_or_starting(&file, pid),
            Err(error) => return Err(self.error(pid, error.into())),
        };
        // The process that is open now is the daemon only if the daemon holds the lock even now.
        match pidfile::holds_lock(pid, &fstat(&file).map_err(|error| reading(error.into()))?) {
            Some(true) => Ok(Found::Instance(Instance { pid, process })),
            Some(false) => self.dead_or_starting(&file, pid),
            None => unknown(format!("whether process {pid} holds the lock cannot be seen")),
        }
    }

    /// The named process is not the daemon: nobody is, or one that has not written its pid yet, or just has. One that is
    /// dying has no descriptor any more, but still the lock, for a moment.
    fn dead_or_starting(&self, file: &File, named: Pid) -> Result<Found, Error> {
        let reading = |error| self.error("the pidfile", error);
        let began = Instant::now();
        while began.elapsed() < DOUBT {
            if !pidfile::is_locked(file).map_err(reading)? {
                return Ok(Found::Other(Status::Dead { pid: Some(named.as_raw()) }));
            }
            if pidfile::read_pid(file).map_err(reading)? != Some(named) {
                return self.find();
            }
            std::thread::sleep(DOUBT / 100);
        }
        Ok(Found::Other(Status::Unknown("the pidfile is locked by a process that it does not name".to_owned())))
    }

    fn send(&self, instance: &Instance, signal: i32) -> Result<(), Error> {
        match sys::pidfd_send_signal(instance.process.as_fd(), signal) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(self.error(format_args!("signal {signal} to pid {}", instance.pid), error.into())),
        }
    }

    fn error(&self, what: impl std::fmt::Display, error: io::Error) -> Error {
        Error::control(format!("{}: {what}", self.pidfile.display()), error)
    }
}

impl Instance {
    /// Ends it.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match sys::pidfd_send_signal(self.process.as_fd(), libc::SIGKILL) {
            // It has ended meanwhile.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the process ends in time.
    pub(crate) fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut end = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        Ok(retry(|| poll(&mut end, timeout))? > 0)
    }
}

/// Opens a pidfile to read it. What root relies on must be root's alone.
fn open(path: &Path) -> io::Result<File> {
    let (file, _) = Place::of(path)?.open(OFlag::O_RDONLY)?;
    let found = fstat(&file)?;
    let others = Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    if geteuid().is_root() && (found.st_uid != 0 || others) {
        return Err(io::Error::other("another user than root can write it"));
    }
    Ok(File::from(file))
}

/// When a process was started.
fn started(pid: Pid) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the start is the 20th field after it, in ticks since the boot.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??).ok()?;
    let uptime = Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?);
    let age = uptime.checked_sub(Duration::from_millis(ticks * 1000 / per_second))?;
    SystemTime::now().checked_sub(age)
}
