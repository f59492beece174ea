//! `Daemon`: the settings as the user gave them.

#[cfg(all(feature = "cli", any(target_os = "linux", not(unix))))]
pub(crate) mod action;
pub(crate) mod log;
pub(crate) mod path;
pub(crate) mod places;
mod values;

use std::ffi::OsString;
#[cfg(unix)]
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(all(feature = "cli", any(target_os = "linux", not(unix))))]
use self::action::Action;
pub use self::log::Log;
use crate::error::{Error, ErrorKind};
pub use values::{AlreadyRunning, Mode, NameOrId, ParseModeError};
pub(crate) use values::{Property, Replacement};

/// The number of a descriptor.
#[cfg(not(unix))]
type RawFd = i32;

/// How long a service finishes its work if nothing is set: half of the time that supervisord,
/// `docker stop` and `stop` allow.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of a service, and its start.
///
/// Each argument of the attribute `#[daemon(…)]` is the method of the same name here; a `configure`
/// hook receives the `Daemon` and may change any of them. The methods take `&mut self` and return
/// it, as those of [`std::process::Command`].
///
/// Nothing is looked up or opened before the start: a wrong path or an unknown user is reported
/// then, with its step.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "settings that are given or not"
)]
pub struct Daemon {
    pub(crate) name: Option<String>,
    pub(crate) pidfile: Option<Place>,
    pub(crate) user: Option<NameOrId>,
    pub(crate) group: Option<NameOrId>,
    pub(crate) groups: Option<Vec<NameOrId>>,
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) working_directory: Property<PathBuf>,
    pub(crate) umask: Property<u32>,
    pub(crate) keep_env: Vec<OsString>,
    pub(crate) keep_fds: Vec<RawFd>,
    pub(crate) keep_fds_from: Vec<OsString>,
    /// Whether the service has a directory of its own.
    pub(crate) runtime_directory: bool,
    /// Whether it has one for its state.
    pub(crate) state_directory: bool,
    pub(crate) stdout: Option<Log>,
    pub(crate) stderr: Option<Log>,
    pub(crate) log_size: Option<u64>,
    pub(crate) log_keep: Option<u32>,
    pub(crate) limits: Vec<String>,
    pub(crate) nice: Option<i32>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) cpu_affinity: Option<String>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) no_new_privs: Option<bool>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) drain_timeout: Option<Duration>,
    /// Printed service files alone use these two.
    pub(crate) reloads: bool,
    pub(crate) watchdog: Option<Duration>,
    pub(crate) mode: Mode,
    pub(crate) already_running: AlreadyRunning,
    /// The exit statuses of the program's own, the later before the earlier.
    pub(crate) statuses: Vec<(ErrorKind, u8)>,
    /// Whether the service answers on a control socket beside the pidfile.
    pub(crate) control_socket: bool,
    /// Set where the command line is this library's to read.
    #[cfg(all(feature = "cli", any(target_os = "linux", not(unix))))]
    pub(crate) version: Option<String>,
    /// Where this start replaces the instance that runs: how.
    pub(crate) replacement: Option<Replacement>,
    #[cfg(all(feature = "cli", any(target_os = "linux", not(unix))))]
    pub(crate) action: Action,
}

/// Implemented by nothing.
#[cfg(not(all(feature = "cli", any(target_os = "linux", not(unix)))))]
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the argument `cli` needs the feature `cli` of daemon-rt, and Linux",
    label = "the feature `cli` is not enabled",
    note = "run `cargo add daemon-rt --features cli`"
)]
pub trait FeatureCli {}

/// The place of a file.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// That of [`places`](places::places).
    Usual,
    At(PathBuf),
}

impl Daemon {
    /// The settings at their defaults.
    ///
    /// ```
    /// let mut daemon = daemon_rt::Daemon::new();
    /// daemon.name("greeter").umask(0o022);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The name in messages, in the system log and in the default pidfile's path; the binary's name
    /// if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.name("greeter");
    /// assert_eq!(daemon.get_name(), "greeter");
    /// ```
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = Some(name.into());
        self
    }

    /// The pidfile (step 12): locked for the service's life, so that there is one instance. None if
    /// not set.
    ///
    /// The service keeps it open for reading only, so that it cannot change the pid. On NFS the
    /// lock needs a file that is open for writing: there it can. `/run` is no NFS.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.pidfile("/run/greeter.pid");
    /// ```
    pub fn pidfile(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pidfile = Some(Place::At(path.into()));
        self
    }

    /// The pidfile at its usual place, such as `/run/NAME.pid`: see [`places`](crate::places()).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.name("greeter").default_pidfile();
    /// ```
    pub fn default_pidfile(&mut self) -> &mut Self {
        self.pidfile = Some(Place::Usual);
        self
    }

    /// No pidfile, as if none had been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.pidfile("/run/greeter.pid").no_pidfile();
    /// assert_eq!(daemon.get_pidfile()?, None);
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    pub fn no_pidfile(&mut self) -> &mut Self {
        self.pidfile = None;
        self
    }

    /// The user as whom the service runs (step 13), unchanged if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("nobody");
    /// assert!(daemon.get_user().is_some());
    /// ```
    pub fn user(&mut self, user: impl Into<NameOrId>) -> &mut Self {
        self.user = Some(user.into());
        self
    }

    /// The user, group and groups of whoever starts the service, as if none had been set; no
    /// capabilities are kept.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("nobody").no_user();
    /// assert!(daemon.get_user().is_none());
    /// ```
    pub fn no_user(&mut self) -> &mut Self {
        (self.user, self.group, self.groups) = (None, None, None);
        self.capabilities.clear();
        self
    }

    /// The group as which the service runs (step 13); the user's primary group if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("nobody").group("www-data");
    /// ```
    pub fn group(&mut self, group: impl Into<NameOrId>) -> &mut Self {
        self.group = Some(group.into());
        self
    }

    /// The supplementary groups (step 13); those of the user, as by initgroups(3), if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("nobody").groups(["adm", "ssl-cert"]);
    /// ```
    pub fn groups<G: Into<NameOrId>>(&mut self, groups: impl IntoIterator<Item = G>) -> &mut Self {
        self.groups = Some(groups.into_iter().map(Into::into).collect());
        self
    }

    /// The directory that becomes the service's root (step 13), by chroot(2). Root refuses one that
    /// another user can write, or that lies below a directory that another can, as sshd does.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.chroot("/srv/jail");
    /// ```
    pub fn chroot(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.chroot = Some(directory.into());
        self
    }

    /// No chroot, as if none had been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.chroot("/srv/jail").no_chroot();
    /// assert!(daemon.get_chroot().is_none());
    /// ```
    pub fn no_chroot(&mut self) -> &mut Self {
        self.chroot = None;
        self
    }

    /// The working directory (step 11), inside the `chroot` if there is one; `/` if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.working_directory("/var/lib/greeter");
    /// ```
    pub fn working_directory(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.working_directory = Property::Set(directory.into());
        self
    }

    /// The working directory of whoever starts the service. A file system that the service works in
    /// cannot be unmounted. Refused with a `chroot`, outside of which it would be.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.keep_working_directory();
    /// ```
    pub fn keep_working_directory(&mut self) -> &mut Self {
        self.working_directory = Property::Keep;
        self
    }

    /// A directory of the service's own, such as `/run/NAME`, for sockets and the like; none if not
    /// set. [`Places::runtime_directory`](crate::Places::runtime_directory) tells its path.
    ///
    /// It is made with mode 0755 if it is missing, and belongs to the service's user and group before
    /// `privileged_init` (step 13). One that is another user's, and not empty, fails the start, as does
    /// one that everyone can write. (A group can share it: that is an administrator's choice.) It is
    /// there for the next start: nothing removes it. The pidfile can be in it unless the service gives
    /// up root.
    ///
    /// ```no_run
    /// use std::error::Error;
    /// use std::os::unix::net::UnixListener;
    ///
    /// use daemon_rt::{Daemon, daemon, places};
    ///
    /// #[daemon(pidfile, user = "greeter", runtime_directory, init = bind)]
    /// fn main(listener: UnixListener) {
    ///     // …
    /// }
    ///
    /// fn bind() -> Result<UnixListener, Box<dyn Error>> {
    ///     let directory = places("greeter").runtime_directory()?;
    ///     Ok(UnixListener::bind(directory.join("socket"))?)
    /// }
    /// ```
    pub fn runtime_directory(&mut self) -> &mut Self {
        self.runtime_directory = true;
        self
    }

    /// No directory of the service's own, as if it had not been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.runtime_directory().no_runtime_directory();
    /// ```
    pub fn no_runtime_directory(&mut self) -> &mut Self {
        self.runtime_directory = false;
        self
    }

    /// A directory for what the service keeps from one run to the next, such as `/var/lib/NAME`; none if
    /// not set. [`Places::state_directory`](crate::Places::state_directory) tells its path.
    ///
    /// It is made and given to the service's user as the
    /// [`runtime_directory`](Self::runtime_directory).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("greeter").state_directory();
    /// ```
    pub fn state_directory(&mut self) -> &mut Self {
        self.state_directory = true;
        self
    }

    /// No such directory, as if it had not been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.state_directory().no_state_directory();
    /// ```
    pub fn no_state_directory(&mut self) -> &mut Self {
        self.state_directory = false;
        self
    }

    /// The file mode creation mask (step 10), see umask(2); 0 if not set, as daemon(7) says.
    ///
    /// A service written in Rust wants `0o022` or stricter: the standard library creates files with
    /// mode 0666, which under a mask of 0 everyone may write.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.umask(0o022);
    /// ```
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.umask = Property::Set(mask);
        self
    }

    /// The file mode creation mask of whoever starts the service.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.keep_umask();
    /// ```
    pub fn keep_umask(&mut self) -> &mut Self {
        self.umask = Property::Keep;
        self
    }

    /// Further environment variables to keep (step 4); a trailing `*` stands for any ending.
    ///
    /// Without it kept are `LANG`, `LANGUAGE`, `LC_*` and `TZ`, and in a program that has no more
    /// privileges than its caller `RUST_LOG`, `RUST_BACKTRACE` and `RUST_LIB_BACKTRACE`. `PATH` is
    /// set to the system's default, and `HOME`, `USER`, `LOGNAME` and `SHELL` to those of the user
    /// as whom the service runs.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.keep_env(["GREETER_TOKEN", "LANG"]);
    /// ```
    pub fn keep_env<N: Into<OsString>>(&mut self, names: impl IntoIterator<Item = N>) -> &mut Self {
        self.keep_env.extend(names.into_iter().map(Into::into));
        self
    }

    /// Inherited descriptors that stay open (step 1), by their numbers: in the service, and in the
    /// programs that it executes. None if not set.
    ///
    /// They must be open when the service is started. In `configure` this comes too late for a start
    /// that detaches, which has closed them by then: one that only `configure` knows is taken over by
    /// [`keep_fd`](Self::keep_fd).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.keep_fds([3, 4]);
    /// ```
    pub fn keep_fds(&mut self, fds: impl IntoIterator<Item = RawFd>) -> &mut Self {
        self.keep_fds.extend(fds);
        self
    }

    /// Environment variables whose values are the numbers of inherited descriptors, which stay open
    /// (step 1), as by [`keep_fds`](Self::keep_fds). The variables are kept, too (step 4). One that
    /// is not set means no descriptor. In `configure` this comes too late for a start that detaches.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.keep_fds_from(["TUN_FD"]);
    /// ```
    pub fn keep_fds_from<N: Into<OsString>>(
        &mut self,
        names: impl IntoIterator<Item = N>,
    ) -> &mut Self {
        self.keep_fds_from.extend(names.into_iter().map(Into::into));
        self
    }

    /// The log to which standard output goes (step 9): a file by its path, which is appended to, or
    /// an open one, the journal, the system log, or what the caller has there; `/dev/null` if not set.
    ///
    /// In the foreground it stays as it is: that is the business of whoever starts the service.
    ///
    /// ```
    /// use daemon_rt::{Daemon, Log};
    ///
    /// Daemon::new().stdout("/var/log/greeter.log").stderr(Log::Journal);
    /// ```
    pub fn stdout(&mut self, log: impl Into<Log>) -> &mut Self {
        self.stdout = Some(log.into());
        self
    }

    /// Standard output appended to the log at its usual place, such as `/var/log/NAME.log`: see
    /// [`places`](crate::places()).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.default_stdout().default_stderr();
    /// ```
    pub fn default_stdout(&mut self) -> &mut Self {
        self.stdout = Some(Log::Usual);
        self
    }

    /// The log to which standard error goes (step 9), as [`stdout`](Self::stdout).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stderr("/var/log/greeter.log");
    /// ```
    pub fn stderr(&mut self, log: impl Into<Log>) -> &mut Self {
        self.stderr = Some(log.into());
        self
    }

    /// Standard error appended to the log at its usual place, the same as that of
    /// [`default_stdout`](Self::default_stdout).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.default_stdout().default_stderr();
    /// ```
    pub fn default_stderr(&mut self) -> &mut Self {
        self.stderr = Some(Log::Usual);
        self
    }

    /// Standard output and standard error to `/dev/null`, as if no log had been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stderr("/var/log/greeter.log").no_logs();
    /// assert_eq!(daemon.get_stderr()?, None);
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    pub fn no_logs(&mut self) -> &mut Self {
        (self.stdout, self.stderr) = (None, None);
        self
    }

    /// The most bytes in a log that is a file by its path. When the next line has no room, the file
    /// becomes `NAME.1`, that becomes `NAME.2`, and so on, as far as [`log_keep`](Self::log_keep) says;
    /// no limit if not set.
    ///
    /// A process beside the service writes the file then, and nothing is lost. It runs as the service's
    /// user, who must be allowed to rename in the file's directory: the start fails if not. In the
    /// foreground the log is the manager's.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.default_stderr().log_size(10 << 20).log_keep(5);
    /// ```
    pub fn log_size(&mut self, bytes: u64) -> &mut Self {
        self.log_size = Some(bytes);
        self
    }

    /// The number of full logs that are kept, where [`log_size`](Self::log_size) is set; 4 if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stderr("/var/log/greeter.log").log_size(1 << 20).log_keep(9);
    /// ```
    pub fn log_keep(&mut self, files: u32) -> &mut Self {
        self.log_keep = Some(files);
        self
    }

    /// The same, or its usual number.
    pub(crate) fn logs_kept(&self) -> u32 {
        self.log_keep.unwrap_or(4)
    }

    /// The resource limits (step 13), by their names in prlimit(1), each with its value, or with soft
    /// and hard value; see getrlimit(2). Those of whoever starts the service if not set. Only root
    /// can raise a hard limit.
    ///
    /// They are set in the detached daemon, before `privileged_init`. In the foreground they are the
    /// business of the manager, whose service file has them where `unit` has printed it.
    ///
    /// ```
    /// use daemon_rt::Daemon;
    ///
    /// Daemon::new().limits(["nofile=1024:65536", "memlock=unlimited", "core=0"]);
    /// ```
    pub fn limits<L: Into<String>>(&mut self, limits: impl IntoIterator<Item = L>) -> &mut Self {
        self.limits = limits.into_iter().map(Into::into).collect();
        self
    }

    /// The nice value (step 13), from -20, which is served first, to 19; that of whoever starts the
    /// service if not set. It is set where the [`limits`](Self::limits) are.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.nice(10);
    /// ```
    pub fn nice(&mut self, value: i32) -> &mut Self {
        self.nice = Some(value);
        self
    }

    /// The service's rank where memory runs out (step 13), from -1000, which is never killed, to
    /// 1000, which is killed first; that of whoever starts the service if not set. It is set where
    /// the [`limits`](Self::limits) are. See proc_pid_oom_score_adj(5).
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.oom_score_adj(-500);
    /// ```
    pub fn oom_score_adj(&mut self, value: i32) -> &mut Self {
        self.oom_score_adj = Some(value);
        self
    }

    /// The processors on which the service may run (step 13), as a list such as `0-3,8`, see
    /// taskset(1); those of whoever starts the service if not set. It is set where the
    /// [`limits`](Self::limits) are. On Linux and FreeBSD.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.cpu_affinity("0-3,8");
    /// ```
    pub fn cpu_affinity(&mut self, processors: impl Into<String>) -> &mut Self {
        self.cpu_affinity = Some(processors.into());
        self
    }

    /// The capabilities that the service keeps when it gives up root (step 13), such as
    /// `CAP_NET_BIND_SERVICE`; none if not set. See capabilities(7). `CAP_SETUID` and `CAP_SETGID`,
    /// which would give everything back, are refused.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user("nobody").capabilities(["net_bind_service"]);
    /// ```
    pub fn capabilities<C: Into<String>>(
        &mut self,
        names: impl IntoIterator<Item = C>,
    ) -> &mut Self {
        self.capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the service and what it executes can never gain privileges (step 13), see prctl(2),
    /// `PR_SET_NO_NEW_PRIVS`; on where privileges are dropped and off elsewhere if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.no_new_privs(true);
    /// ```
    pub fn no_new_privs(&mut self, on: bool) -> &mut Self {
        self.no_new_privs = Some(on);
        self
    }

    /// How long the start of a detached service may take, from the first fork to readiness (step
    /// 14); forever if not set. A daemon that is not ready by then is killed, with all it started.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.start_timeout(std::time::Duration::from_secs(60));
    /// ```
    pub fn start_timeout(&mut self, limit: Duration) -> &mut Self {
        self.start_timeout = Some(limit);
        self
    }

    /// No limit on the time that a start may take, as if none had been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.start_timeout(std::time::Duration::from_secs(60)).no_start_timeout();
    /// assert_eq!(daemon.get_start_timeout(), None);
    /// ```
    pub fn no_start_timeout(&mut self) -> &mut Self {
        self.start_timeout = None;
        self
    }

    /// How long the service finishes its work from the request to terminate on, where it waits for
    /// [`Shutdown::drained`](crate::Shutdown::drained). Then it is to end, and has until
    /// [`stop_timeout`](Self::stop_timeout): a time that is not shorter is refused. 5 seconds if not
    /// set, or half of a `stop_timeout` that is shorter than 10.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.drain_timeout(std::time::Duration::from_secs(8));
    /// ```
    pub fn drain_timeout(&mut self, limit: Duration) -> &mut Self {
        self.drain_timeout = Some(limit);
        self
    }

    /// How long the service may take to end from the request to terminate, see
    /// [`shutdown`](crate::shutdown()); forever if not set. A service that has not ended by then
    /// says so and ends at once, with status 97, whatever its threads are doing. That holds in the
    /// foreground, too, and for the old instance in a restart.
    ///
    /// Whoever stops the service has a limit as well, and kills: give it more time than this.
    /// `stop --timeout`, if not given, and the service files that `unit` prints have five seconds more
    /// than this, or than a `drain_timeout` of more than 5 seconds if this is not set. A service that
    /// does not call `shutdown` ends by the signal itself.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stop_timeout(std::time::Duration::from_secs(30));
    /// ```
    pub fn stop_timeout(&mut self, limit: Duration) -> &mut Self {
        self.stop_timeout = Some(limit);
        self
    }

    /// No limit on the time that the service may take to end, as if none had been set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stop_timeout(std::time::Duration::from_secs(30)).no_stop_timeout();
    /// assert_eq!(daemon.get_stop_timeout(), None);
    /// ```
    pub fn no_stop_timeout(&mut self) -> &mut Self {
        self.stop_timeout = None;
        self
    }

    /// Says that the service reloads its configuration, see [`reloads`](crate::reloads()): the files
    /// that `unit` prints then tell the manager how. Not if not set.
    pub fn reloads(&mut self) -> &mut Self {
        self.reloads = true;
        self
    }

    /// Says that the service pings its manager's [`watchdog`](crate::watchdog()), and how long it may
    /// be silent: the unit that `unit` prints then has systemd kill it and start it again after this
    /// time. No watchdog if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.watchdog(std::time::Duration::from_secs(20));
    /// ```
    pub fn watchdog(&mut self, limit: Duration) -> &mut Self {
        self.watchdog = Some(limit);
        self
    }

    /// Whether the service detaches; [`Mode::Auto`] if not set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.mode(daemon_rt::Mode::Foreground);
    /// assert_eq!(daemon.get_mode(), daemon_rt::Mode::Foreground);
    /// ```
    pub fn mode(&mut self, mode: Mode) -> &mut Self {
        self.mode = mode;
        self
    }

    /// The outcome of a start that finds the service running; [`AlreadyRunning::Fail`] if not set.
    ///
    /// ```
    /// use daemon_rt::{AlreadyRunning, Daemon};
    ///
    /// // An agent that each command starts: any number of them may be called at once.
    /// Daemon::new().pidfile("/run/agent.pid").already_running(AlreadyRunning::Wait);
    /// ```
    pub fn already_running(&mut self, outcome: AlreadyRunning) -> &mut Self {
        self.already_running = outcome;
        self
    }

    /// The exit status of a start that fails with an error of this kind, instead of the library's:
    /// see [`Error::kind`]. That includes an [`Error`] that a hook returns.
    ///
    /// ```
    /// use daemon_rt::{Daemon, ErrorKind};
    ///
    /// const EX_UNAVAILABLE: u8 = 69; // as sysexits(3) has it
    /// Daemon::new().exit_status(ErrorKind::Socket, EX_UNAVAILABLE);
    /// ```
    pub fn exit_status(&mut self, kind: ErrorKind, status: u8) -> &mut Self {
        self.statuses.insert(0, (kind, status));
        self
    }

    /// The control commands come with the feature `cli`.
    #[cfg(not(all(feature = "cli", any(target_os = "linux", not(unix)))))]
    #[doc(hidden)]
    pub fn cli(&mut self, version: impl FeatureCli) -> &mut Self {
        drop(version);
        self
    }

    /// Gives the service a control socket beside its pidfile, named as this with `.control` behind
    /// it (step 12): over it [`control`](crate::control) learns when a reload is done, and a
    /// restart gets the sockets on which the service listens, if it has taken them by
    /// [`listen`](crate::listen()), [`listener_or`](crate::listener_or) or
    /// [`listeners`](crate::listeners) before it was ready. From readiness on a thread answers
    /// there.
    ///
    /// The pidfile's path may have any length, but without /proc both must be shorter than 108
    /// bytes; its name may have about 75 bytes.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.pidfile("/run/greeter.pid").control_socket();
    /// ```
    #[cfg(feature = "control")]
    pub fn control_socket(&mut self) -> &mut Self {
        self.control_socket = true;
        self
    }

    /// Makes this start a restart: it replaces the instance that runs, if one does. A restart
    /// detaches.
    ///
    /// One that has a [`control_socket`](Self::control_socket) and takes its sockets from this
    /// library hands them over, and ends as by SIGTERM when this one is ready: no connection is
    /// lost, and if this one fails the old one goes on. Sockets are matched by name and address,
    /// see [`listen`](crate::listen()). Another instance is stopped first, as is one that is
    /// suspended, or does not answer for ten seconds.
    ///
    /// The old instance gets SIGTERM, and SIGKILL if it has not ended after `patience`. That holds
    /// after a hand-over too: requests that take longer are cut. This process waits for its end,
    /// except as a manager's reload command (`MAINPID` names the old instance): there the new
    /// instance sees to it. Another restart is waited for 30 seconds.
    ///
    /// One that a manager runs (systemd, OpenRC, runit, s6, daemontools, supervisord, dinit) is
    /// restarted by that manager's own command, and this process ends when the new instance runs.
    /// Where there is no such command, as for what PID 1 of a container runs, the restart fails and
    /// says what to do.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.pidfile("/run/greeter.pid").restart(std::time::Duration::from_secs(10));
    /// ```
    #[cfg(feature = "control")]
    pub fn restart(&mut self, patience: Duration) -> &mut Self {
        self.restart_within(Some(patience))
    }

    #[cfg(feature = "control")]
    pub(crate) fn restart_within(&mut self, patience: Option<Duration>) -> &mut Self {
        self.replacement = Some(Replacement::Restart(patience));
        self.mode = Mode::Detach;
        self.control_socket()
    }

    /// The time after which the service is killed that was told to end, if no other is given: it has
    /// a limit of its own, which comes before.
    pub(crate) fn patience(&self) -> Duration {
        const MORE: Duration = Duration::from_secs(5);
        let limit = self.time_to_end().unwrap_or(DRAIN_TIMEOUT);
        limit.saturating_add(MORE)
    }

    /// How long the service takes to end, if a setting says so. Whoever ends it allows for the usual
    /// time to drain.
    pub(crate) fn time_to_end(&self) -> Option<Duration> {
        match self.drain_timeout {
            Some(drain) if drain > DRAIN_TIMEOUT => self.stop_timeout.or(Some(drain)),
            _ => self.stop_timeout,
        }
    }

    /// How long the service finishes its work, which is less than it has to end.
    pub(crate) fn time_to_drain(&self) -> Result<Duration, Error> {
        match (self.drain_timeout, self.stop_timeout) {
            (Some(drain), Some(stop)) if drain >= stop => {
                let problem = format!("must be shorter than stop_timeout, which is {stop:?}");
                Err(Error::usage(format!("drain_timeout {drain:?}"), problem))
            }
            (Some(drain), _) => Ok(drain),
            (None, Some(stop)) => Ok(DRAIN_TIMEOUT.min(stop / 2)),
            (None, None) => Ok(DRAIN_TIMEOUT),
        }
    }

    /// Lets this start begin beside the instance that runs, if one does, and take its pidfile over
    /// when this one is ready: for a program that passes its descriptors on by a protocol of its
    /// own. An upgrade detaches.
    ///
    /// If this one fails, the old one keeps the pidfile. If not, the old one lives on: to end it is
    /// the program's business. Until then [`control`](crate::control) counts it among the older
    /// instances. What it has from [`listen`](crate::listen()) is there by its name in this one,
    /// too. Another upgrade or restart is waited for 30 seconds.
    ///
    /// Both need a [`control_socket`](Self::control_socket), which this sets. The start fails if the
    /// instance that runs has none, or does not answer.
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    ///
    /// use daemon_rt::{Daemon, daemon, shutdown};
    ///
    /// #[daemon(pidfile = "/run/gateway.pid", configure = configure, init = take_sockets)]
    /// fn main() {
    ///     shutdown().wait();
    /// }
    ///
    /// fn configure(daemon: &mut Daemon) -> Result<(), Infallible> {
    ///     daemon.control_socket();
    ///     if std::env::args().any(|argument| argument == "--upgrade") {
    ///         daemon.upgrade();
    ///     }
    ///     Ok(())
    /// }
    ///
    /// /// With `--upgrade`, from the old instance.
    /// fn take_sockets() -> std::io::Result<()> {
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "control")]
    pub fn upgrade(&mut self) -> &mut Self {
        self.replacement = Some(Replacement::Upgrade);
        self.mode = Mode::Detach;
        self.control_socket()
    }

    /// The name that was set, or else the binary's.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.name("greeter");
    /// assert_eq!(daemon.get_name(), "greeter");
    /// ```
    pub fn get_name(&self) -> String {
        self.name.clone().unwrap_or_else(binary_name)
    }

    /// Where the pidfile is going to be; `None` if there is to be none.
    ///
    /// ```
    /// use std::path::PathBuf;
    ///
    /// let mut daemon = daemon_rt::Daemon::new();
    /// daemon.pidfile("/run/greeter.pid");
    /// assert_eq!(daemon.get_pidfile()?, Some(PathBuf::from("/run/greeter.pid")));
    /// daemon.no_pidfile();
    /// assert_eq!(daemon.get_pidfile()?, None);
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the path that was set is not valid, or the usual place cannot be told.
    pub fn get_pidfile(&self) -> Result<Option<PathBuf>, Error> {
        places::pidfile(self)
    }

    /// The user that was set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.user(1000);
    /// assert!(daemon.get_user().is_some());
    /// ```
    pub fn get_user(&self) -> Option<&NameOrId> {
        self.user.as_ref()
    }

    /// The group that was set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.group(1000);
    /// assert!(daemon.get_group().is_some());
    /// ```
    pub fn get_group(&self) -> Option<&NameOrId> {
        self.group.as_ref()
    }

    /// The directory that was set to become the service's root.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.chroot("/srv/jail");
    /// assert_eq!(daemon.get_chroot(), Some("/srv/jail".as_ref()));
    /// ```
    pub fn get_chroot(&self) -> Option<&Path> {
        self.chroot.as_deref()
    }

    /// The file to which standard output is going to be appended; `None` if to none, such as where it
    /// goes to the journal.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stdout("/var/log/greeter.log");
    /// assert!(daemon.get_stdout()?.is_some());
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the path that was set is not valid, or the usual place cannot be told.
    pub fn get_stdout(&self) -> Result<Option<PathBuf>, Error> {
        places::log(self, "stdout", self.stdout.as_ref())
    }

    /// The file to which standard error is going to be appended; `None` if to none.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// daemon.stderr("/var/log/greeter.log");
    /// assert!(daemon.get_stderr()?.is_some());
    /// # Ok::<_, daemon_rt::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the path that was set is not valid, or the usual place cannot be told.
    pub fn get_stderr(&self) -> Result<Option<PathBuf>, Error> {
        places::log(self, "stderr", self.stderr.as_ref())
    }

    /// The limit that was set on the time that a start may take.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// assert_eq!(daemon.get_start_timeout(), None);
    /// ```
    pub fn get_start_timeout(&self) -> Option<Duration> {
        self.start_timeout
    }

    /// The limit that was set on the time that the service may take to end.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// assert_eq!(daemon.get_stop_timeout(), None);
    /// ```
    pub fn get_stop_timeout(&self) -> Option<Duration> {
        self.stop_timeout
    }

    /// The mode that was set.
    ///
    /// ```
    /// # let mut daemon = daemon_rt::Daemon::new();
    /// assert_eq!(daemon.get_mode(), daemon_rt::Mode::Auto);
    /// ```
    pub fn get_mode(&self) -> Mode {
        self.mode
    }
}

pub(crate) fn binary_name() -> String {
    let path = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_default();
    path.file_name().map_or_else(
        || "daemon".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
