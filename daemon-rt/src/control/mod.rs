//! Control of a service from outside, by its pidfile. A signal never hits another process.

pub(crate) mod handover;
mod instance;
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) mod keeper;
mod launch;
#[cfg(feature = "cli")]
mod left;
mod lookup;
mod memory;
pub(crate) mod process;
mod start_error;
mod status;
mod wait;

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;

use self::handover::Answer;
#[cfg(feature = "cli")]
pub(crate) use self::handover::Description;
use self::instance::Instance;
#[cfg(feature = "cli")]
pub(crate) use self::left::{Left, left_processes};
use self::lookup::{Found, describe, failed_at};
pub use self::start_error::StartError;
pub use self::status::{Reloaded, Status, Stopped};
use crate::error::{Error, ErrorKind};
pub use crate::started::Started;
use crate::steps::pidfile::{self, Holder, Phase};
use crate::sys::{self, proc};

/// Controls a service by its pidfile.
///
/// A service of this library locks single bytes of its pidfile, which tell that it runs, whether it
/// is ready, and which process it is. So asking takes no lock, never makes a start fail, and needs
/// neither /proc nor a right over the service. Where there are no such locks (another program's
/// pidfile) its flock(2) is tested by sharing it for a moment.
///
/// Before a signal is sent, the process is opened (pidfd_open(2)) and the lock is checked once
/// more: a process that has got the number of a dead daemon is never hit. Waiting is for an event,
/// not by asking again and again. Without pidfd_open(2) (before Linux 5.3, or where a filter
/// forbids it) the locks have to do.
///
/// Root trusts no file that another user can write. An ordinary user can control only services of
/// their own.
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
    /// The service cannot remove its pidfile: if no process holds it, the service is not running.
    leaves_pidfile: bool,
}

impl Control {
    /// Controls the service that has this pidfile. A relative path is resolved now, against the
    /// current directory.
    pub fn new(pidfile: impl Into<PathBuf>) -> Self {
        let pidfile = pidfile.into();
        let pidfile = std::path::absolute(&pidfile).unwrap_or(pidfile);
        Self {
            pidfile,
            leaves_pidfile: false,
        }
    }

    /// Controls a service that cannot remove its pidfile at its end.
    #[cfg(feature = "cli")]
    pub(crate) fn leaving_pidfile(pidfile: impl Into<PathBuf>) -> Self {
        Self {
            leaves_pidfile: true,
            ..Self::new(pidfile)
        }
    }

    /// Looks up the state of the service.
    ///
    /// # Errors
    /// If the pidfile does not pass the ownership checks. One that cannot be read is
    /// [`Status::Unknown`].
    pub fn status(&self) -> Result<Status, Error> {
        self.try_status()
            .map_err(|error| error.in_command("look the service up"))
    }

    fn try_status(&self) -> Result<Status, Error> {
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

    /// Looks up the older instances, which have handed the service over: in a restart, and are
    /// still finishing their requests, or in an [upgrade](crate::Daemon::upgrade).
    ///
    /// ```no_run
    /// let control = daemon_rt::control::Control::new("/run/greeter.pid");
    /// for pid in control.old_instances()? {
    ///     println!("process {pid} still answers requests");
    /// }
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the pidfile cannot be read, or does not pass the ownership checks.
    pub fn old_instances(&self) -> Result<Vec<u32>, Error> {
        self.try_old_instances()
            .map_err(|error| error.in_command("look the service up"))
    }

    fn try_old_instances(&self) -> Result<Vec<u32>, Error> {
        let pids = lookup::old_instances(&self.pidfile)?;
        Ok(pids.into_iter().map(sys::id_of).collect())
    }

    /// Starts the service by a command, such as this program with another argument, and returns when
    /// it is ready. The caller goes on. Any number of threads and processes may do this at once: one
    /// instance is started, and each gets its pid.
    ///
    /// The command must be a program of this library's with a pidfile, the one of this `Control`,
    /// which detaches. It gets `DAEMON_MODE=detach`, no variable of the caller's own manager,
    /// `/dev/null` as standard input and output, and a file in memory as standard error, the text of
    /// which is the message of a failure. The daemon gets nothing of the caller but what
    /// [daemon-rt](crate) says; it stays in the caller's control group.
    ///
    /// An instance that is starting is waited for; if it fails, this start tries itself, after three
    /// others at most. When `patience` is over the starter gets SIGTERM, and leaves nothing.
    ///
    /// # Errors
    /// If the command cannot be executed, the start fails or takes longer than `patience`, or the
    /// service has ended at once.
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// use daemon_rt::control::Control;
    ///
    /// let mut serve = Command::new(std::env::current_exe()?);
    /// serve.arg("serve");
    /// let agent = Control::new("/run/user/1000/agent.pid");
    /// match agent.launch(&mut serve, Duration::from_secs(10)) {
    ///     Ok(started) => println!("the agent runs as process {}", started.pid),
    ///     Err(error) => eprintln!("the agent does not start: {error}"),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// It is a child of this process until it has detached: a SIGCHLD comes when the starter ends.
    /// Where SIGCHLD is ignored, or another part of the program waits for any child, the pidfile's
    /// lock tells the outcome, and [`StartError::status`] is `None`.
    pub fn launch(&self, command: &mut Command, patience: Duration) -> Result<Started, StartError> {
        launch::launch(self, command, patience)
    }

    /// Ends the service: SIGTERM (and SIGCONT, should it be suspended), and SIGKILL if it has not
    /// ended after `patience`. The [`old_instances`](Self::old_instances) end with it: after a
    /// restart they have had their SIGTERM, after an upgrade they get it now.
    ///
    /// A manager that runs the service may start it again. The command `stop` has the manager stop
    /// it; this does not.
    ///
    /// # Errors
    /// If it is not known whether the service runs, or the caller is not permitted to end it.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use daemon_rt::control::{Control, Stopped};
    ///
    /// let stopped = Control::new("/run/greeter.pid").stop(Duration::from_secs(10))?;
    /// if let Stopped::Killed { pid } = stopped {
    ///     println!("the greeter did not end in 10 s and was killed (pid {pid})");
    /// }
    /// # Ok::<(), daemon_rt::Error>(())
    /// ```
    pub fn stop(&self, patience: Duration) -> Result<Stopped, Error> {
        self.try_stop(patience)
            .map_err(|error| error.in_command("stop"))
    }

    fn try_stop(&self, patience: Duration) -> Result<Stopped, Error> {
        let began = Instant::now();
        let old = Instance::old(&self.pidfile)?;
        let kept = if old.is_empty() {
            Vec::new()
        } else {
            lookup::kept_instances(&self.pidfile)?
        };
        let stopped = instance::end(&self.pidfile, patience)?;
        for instance in &old {
            if kept.contains(&instance.pid) {
                instance.tell_to_end(&self.pidfile)?;
            }
        }
        for instance in old {
            let left = patience.saturating_sub(began.elapsed());
            if let Err(error) = instance.end_within(left) {
                return Err(self.failed(&instance, error));
            }
        }
        if self.leaves_pidfile || stopped != Stopped::NotRunning || self.is_dead()? {
            // A pidfile that cannot be removed says that the service has died.
            _ = pidfile::remove_stale(&self.pidfile, || handover::clean_up(&self.pidfile, None));
        }
        Ok(stopped)
    }

    /// Checks whether the service has died, and no other process has its number.
    fn is_dead(&self) -> Result<bool, Error> {
        match lookup::find(&self.pidfile)? {
            Found::Stale(Some(pid)) => Ok(proc::has_ended(pid)),
            _ => Ok(false),
        }
    }

    /// Sends a signal, by its number, to the main process of the service.
    ///
    /// # Errors
    /// If the service does not run, that is not known, or the caller is not permitted to signal it.
    ///
    /// ```no_run
    /// use daemon_rt::control::Control;
    ///
    /// const SIGUSR1: i32 = 10;
    /// Control::new("/run/greeter.pid").signal(SIGUSR1)?;
    /// # Ok::<(), daemon_rt::Error>(())
    /// ```
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.try_signal(signal)
            .map_err(|error| error.in_command("send a signal"))
    }

    fn try_signal(&self, signal: i32) -> Result<(), Error> {
        self.running()?.signal(&self.pidfile, signal)
    }

    /// Has the service reload. Where the service uses [`reloads`](crate::reloads) and has a control
    /// socket (the argument `cli`), this waits for at most `patience` until it has reloaded;
    /// elsewhere it just sends SIGHUP.
    ///
    /// # Errors
    /// If the service does not run, does not reload in time, or has failed to ([`Reload::failed`],
    /// or a panic); if the caller is not permitted to ask; if a service with a control socket says
    /// that SIGHUP would end it.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use daemon_rt::control::{Control, Reloaded};
    ///
    /// let reloaded = Control::new("/run/greeter.pid").reload(Duration::from_secs(30))?;
    /// if reloaded == Reloaded::Done {
    ///     println!("the greeter has reloaded");
    /// }
    /// # Ok::<(), daemon_rt::Error>(())
    /// ```
    ///
    /// [`Reload::failed`]: crate::Reload::failed
    pub fn reload(&self, patience: Duration) -> Result<Reloaded, Error> {
        self.try_reload(patience)
            .map_err(|error| error.in_command("reload"))
    }

    fn try_reload(&self, patience: Duration) -> Result<Reloaded, Error> {
        let instance = self.running()?;
        if instance.phase == Phase::Starting {
            return Err(not_ready(&instance));
        }
        match handover::ask_to_reload(&self.pidfile, &instance, patience) {
            Ok(Answer::Done) => Ok(Reloaded::Done),
            Ok(Answer::TakesSignal) => {
                instance.signal(&self.pidfile, libc::SIGHUP)?;
                Ok(Reloaded::Requested)
            }
            Ok(Answer::NotReady) => Err(not_ready(&instance)),
            Err(error) => Err(self.failed(&instance, error)),
        }
    }

    /// Asks the service what it says of itself: nothing where it does not answer.
    #[cfg(feature = "cli")]
    pub(crate) fn description(&self) -> Description {
        match Instance::of(&self.pidfile) {
            Ok(Some(instance)) => {
                handover::ask_to_describe(&self.pidfile, &instance).unwrap_or_default()
            }
            Ok(None) | Err(_) => Description::default(),
        }
    }

    /// The service, which must be running.
    fn running(&self) -> Result<Instance, Error> {
        if let Some(instance) = Instance::of(&self.pidfile)? {
            return Ok(instance);
        }
        Err(Error::state(ErrorKind::NotRunning, "", "it is not running"))
    }

    fn failed(&self, instance: &Instance, error: io::Error) -> Error {
        failed_at(&self.pidfile, format_args!("pid {}", instance.pid), error)
    }
}

fn not_ready(instance: &Instance) -> Error {
    let pid = format!("pid {}", instance.pid);
    Error::state(ErrorKind::NotReady, pid, "it is not ready yet")
}
