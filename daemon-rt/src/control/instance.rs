//! A running instance of a service: its process, open.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::lookup::{self, Found, describe, failed_at};
use super::status::Stopped;
use super::wait::until_readable;
use crate::error::{Error, ErrorKind};
use crate::steps::pidfile::{self, Holder, Phase};
use crate::sys;
use crate::sys::kept::Kept;

/// Time limit for the end of a process after SIGKILL: it may have much memory to give back.
pub(super) const DYING: Duration = Duration::from_secs(10);
/// Time limit for a look-up that finds another pid each time.
const DOUBT: Duration = Duration::from_secs(1);
/// How often it looks at least. On a slow machine one look takes that time, and meets a restart.
const LOOKS: u32 = 20;
/// Pause between two looks for the end of a process, where no event says so.
const PAUSE: Duration = Duration::from_millis(10);

/// A running instance.
pub(crate) struct Instance {
    pub(crate) pid: Pid,
    pub(super) phase: Phase,
    process: Handle,
}

/// Tells the process from a later one with its number.
enum Handle {
    Pidfd(Kept),
    /// Without pidfds: the pidfile, on which the process has a lock for as long as it lives.
    Pidfile(File),
}

/// The end of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    InTime,
    Killed,
}

impl Instance {
    /// Opens the process of the service; `None` if the service does not run.
    pub(crate) fn of(pidfile: &Path) -> Result<Option<Self>, Error> {
        let began = Instant::now();
        let mut looks = 0;
        loop {
            looks += 1;
            let in_doubt = looks < LOOKS || began.elapsed() < DOUBT;
            let Some((pid, phase)) = main_process(pidfile)? else {
                return Ok(None);
            };
            let process = match sys::pidfd_open(pid) {
                Ok(process) => match Kept::new(process) {
                    Ok(process) => Handle::Pidfd(process),
                    Err(error) => return Err(failed_at(pidfile, "fstat of a pidfd", error.into())),
                },
                // No process has the number, or a thread has (newer kernels: ENOENT).
                Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) if in_doubt => continue,
                Err(error) => handle_without_pidfd(pidfile, pid, error)?,
            };
            // The open process is the service only if it still holds the lock.
            if let Found::Held(Holder::Main(still, _)) = lookup::find(pidfile)? {
                if still == pid {
                    return Ok(Some(Self {
                        pid,
                        phase,
                        process,
                    }));
                }
            }
            if !in_doubt {
                let problem = format!("its pid keeps changing (pid {pid} was the last)");
                return Err(unknown(pidfile, &problem));
            }
        }
    }

    /// Opens the processes of the older instances.
    pub(super) fn old(pidfile: &Path) -> Result<Vec<Self>, Error> {
        let mut opened = Vec::new();
        for pid in lookup::old_instances(pidfile)? {
            if let Ok(process) = sys::pidfd_open(pid).and_then(Kept::new) {
                opened.push(Self {
                    pid,
                    phase: Phase::Ready,
                    process: Handle::Pidfd(process),
                });
            }
        }
        if opened.is_empty() {
            return Ok(opened);
        }
        // Before it was opened, a number that has gone may have become another process's.
        let still = lookup::old_instances(pidfile)?;
        opened.retain(|instance| still.contains(&instance.pid));
        Ok(opened)
    }

    /// Tells it to end, should it be suspended, too.
    pub(super) fn tell_to_end(&self, pidfile: &Path) -> Result<(), Error> {
        self.signal(pidfile, libc::SIGTERM)?;
        self.signal(pidfile, libc::SIGCONT)
    }

    /// Sends a signal to the service that has this pidfile.
    pub(super) fn signal(&self, pidfile: &Path, signal: i32) -> Result<(), Error> {
        let Err(error) = self.send(signal) else {
            return Ok(());
        };
        let call = match &self.process {
            Handle::Pidfd(_) => "pidfd_send_signal",
            Handle::Pidfile(_) => "kill",
        };
        let what = format!("{call}: signal {signal} to pid {}", self.pid);
        Err(failed_at(pidfile, what, error.into()))
    }

    /// Sends a signal. It is no error if the process has ended.
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
            Err(Errno::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Waits for the end of the process, and kills it when the time is up.
    pub(crate) fn end_within(&self, limit: Duration) -> io::Result<End> {
        if self.ends_within(limit)? {
            return Ok(End::InTime);
        }
        self.send(libc::SIGKILL)?;
        if self.ends_within(DYING)? {
            return Ok(End::Killed);
        }
        Err(io::Error::other(format!(
            "still running {DYING:?} after SIGKILL"
        )))
    }

    /// Waits for the end of the process; `false` if the time is up before.
    pub(crate) fn ends_within(&self, limit: Duration) -> io::Result<bool> {
        match &self.process {
            Handle::Pidfd(process) => Ok(until_readable(process.get()?, Some(limit))?),
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

    /// Checks whether the process is known without the pidfile.
    pub(crate) fn has_pidfd(&self) -> bool {
        matches!(self.process, Handle::Pidfd(_))
    }
}

/// Ends the service, if it runs: SIGTERM (and SIGCONT, should it be suspended), then SIGKILL when
/// the time is up. What it leaves stays.
pub(crate) fn end(pidfile: &Path, patience: Duration) -> Result<Stopped, Error> {
    let Some(instance) = Instance::of(pidfile)? else {
        return Ok(Stopped::NotRunning);
    };
    instance.tell_to_end(pidfile)?;
    let pid = sys::id_of(instance.pid);
    match instance.end_within(patience) {
        Ok(End::InTime) => Ok(Stopped::Terminated { pid }),
        Ok(End::Killed) => Ok(Stopped::Killed { pid }),
        Err(error) => Err(failed_at(pidfile, format_args!("pid {pid}"), error)),
    }
}

/// The main process, if the service runs.
pub(super) fn main_process(pidfile: &Path) -> Result<Option<(Pid, Phase)>, Error> {
    let problem = match lookup::find(pidfile)? {
        Found::Nothing | Found::Stale(_) => return Ok(None),
        Found::Held(Holder::Main(pid, phase)) => return Ok(Some((pid, phase))),
        Found::Held(Holder::Elsewhere(pid, _)) => {
            format!("it runs in another pid namespace, as pid {pid} there")
        }
        Found::Held(Holder::Unnamed) => "it is starting, and has not written its pid".to_owned(),
        Found::Held(holder) => describe(holder),
        Found::Unknown(why) => why,
    };
    Err(unknown(pidfile, &problem))
}

/// Without pidfds, the lock that the process has for itself will do.
fn handle_without_pidfd(pidfile: &Path, pid: Pid, error: Errno) -> Result<Handle, Error> {
    if let Errno::ENOSYS | Errno::EPERM = error {
        if let Ok(Some(file)) = lookup::open(pidfile) {
            if pidfile::says_alive(file.as_fd(), pid) {
                return Ok(Handle::Pidfile(file));
            }
        }
    }
    let call = format!("pidfd_open of pid {pid}");
    Err(failed_at(pidfile, call, error.into()))
}

fn unknown(pidfile: &Path, problem: &str) -> Error {
    Error::state(ErrorKind::Unknown, pidfile.display().to_string(), problem)
}
