//! Controlling a service from outside, by its pidfile, without ever hitting another process.

pub(crate) mod handover;
mod instance;
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) mod keeper;
mod lookup;
mod status;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::libc;

use self::handover::Answer;
use self::instance::Instance;
use self::lookup::{Found, describe, failed};
pub use self::status::{Reloaded, Status, Stopped};
use crate::error::Error;
use crate::steps::pidfile::{self, Holder, Phase};
use crate::sys::{self, proc};

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

    /// The state of the service.
    ///
    /// # Errors
    /// If the pidfile does not pass the ownership checks. One that cannot be read is
    /// [`Status::Unknown`].
    pub fn status(&self) -> Result<Status, Error> {
        Ok(match lookup::find(&self.pidfile)? {
            Found::Nothing => Status::NotRunning,
            Found::Stale(_) if self.leaves_pidfile => Status::NotRunning,
            Found::Stale(pid) => Status::Dead {
                pid: pid.map(sys::id_of),
            },
            Found::Held(Holder::Main(pid, Phase::Ready)) => Status::Running {
                pid: sys::id_of(pid),
                since: proc::started(pid),
            },
            Found::Held(Holder::Main(pid, Phase::Starting)) => Status::Starting {
                pid: Some(sys::id_of(pid)),
            },
            Found::Held(Holder::Elsewhere(pid, Phase::Ready)) => Status::RunningElsewhere {
                pid: sys::id_of(pid),
            },
            Found::Held(Holder::Elsewhere(_, Phase::Starting) | Holder::Unnamed) => {
                Status::Starting { pid: None }
            }
            Found::Held(holder) => Status::Unknown(describe(holder)),
            Found::Unknown(why) => Status::Unknown(why),
        })
    }

    /// The older instances that have handed the service over in a restart, and are still finishing
    /// their requests.
    ///
    /// # Errors
    /// If the pidfile cannot be read, or does not pass the ownership checks.
    pub fn old_instances(&self) -> Result<Vec<u32>, Error> {
        let pids = lookup::old_instances(&self.pidfile)?;
        Ok(pids.into_iter().map(sys::id_of).collect())
    }

    /// Ends the service: SIGTERM (and SIGCONT, should it be suspended), and SIGKILL if it has not
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
        let old = Instance::old(&self.pidfile)?;
        let stopped = instance::end(&self.pidfile, patience)?;
        for instance in old {
            let left = patience.saturating_sub(began.elapsed());
            if let Err(error) = instance.end_within(left) {
                return Err(self.failed(&instance, error));
            }
        }
        if self.leaves_pidfile || stopped != Stopped::NotRunning {
            // Where it cannot be removed, it says that the service has died.
            _ = pidfile::remove_stale(&self.pidfile, || handover::clean_up(&self.pidfile));
        }
        Ok(stopped)
    }

    /// Sends a signal to the service, by its number.
    ///
    /// # Errors
    /// If the service does not run, that cannot be told, or the caller may not signal it.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.running()?.signal(&self.pidfile, signal)
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
            return Err(self.failed(&instance, io::Error::other("it is not ready yet")));
        }
        match handover::ask_to_reload(&self.pidfile, &instance, patience) {
            Ok(Answer::Done) => Ok(Reloaded::Done),
            Ok(Answer::TakesSignal) => {
                instance.signal(&self.pidfile, libc::SIGHUP)?;
                Ok(Reloaded::Requested)
            }
            Err(error) => Err(self.failed(&instance, error)),
        }
    }

    /// The service, which must be running.
    fn running(&self) -> Result<Instance, Error> {
        if let Some(instance) = Instance::of(&self.pidfile)? {
            return Ok(instance);
        }
        let error = io::Error::other("it is not running");
        Err(failed(&self.pidfile, "the service", error))
    }

    fn failed(&self, instance: &Instance, error: io::Error) -> Error {
        failed(&self.pidfile, format_args!("pid {}", instance.pid), error)
    }
}
