//! Turns a program into a well-behaved daemon.
//!
//! ```no_run
//! use std::{io, net::TcpListener};
//! use daemon_rt::daemon;
//!
//! #[daemon(pidfile = "/run/greeter.pid", user = "nobody", umask = 0o022, init = bind)]
//! fn main(listener: TcpListener) -> io::Result<()> {
//!     for _peer in listener.incoming() { /* … */ }
//!     Ok(())
//! }
//!
//! fn bind() -> io::Result<TcpListener> {
//!     TcpListener::bind("127.0.0.1:7007")
//! }
//! ```
//!
//! Started from a shell, cron, ssh or an init script, this program performs the fifteen steps of
//! daemon(7), "SysV Daemons", and the process that was started ends only when initialization is
//! complete (`bind` has returned `Ok`) with status 0, or has failed with another one and a message
//! that says why. Started by a service manager (systemd, s6, dinit, OpenRC, runit, supervisord) or
//! as PID 1 of a container, the same binary stays in the foreground and speaks that manager's
//! protocol.
//!
//! The arguments of the attribute are those of [`macro@daemon`]; each is a method of [`Daemon`],
//! which the `configure` hook receives, and which is also the way to do without the macro.
//!
//! # While it runs
//!
//! | | |
//! | --- | --- |
//! | [`shutdown`](shutdown()) | the request to end: a flag, a wait, a future; and the work that is finished first |
//! | [`reloads`](reloads()) | the requests to reload |
//! | [`listen`](listen()) | a socket of the service manager, of the old instance in a restart, or a new one |
//! | [`status`](status()) | what the service does, for its manager and for people |
//! | [`places`](places()) | the usual places of pidfile, log and state |
//! | [`watchdog`](watchdog()) | pings for a manager that watches the service |
//! | [`control::Control`] | stops, reloads or starts it from another program |
//! | [`cli`] | the same as commands of its own: `greeter start`, `stop`, `status`, … |
//!
//! # Features
//!
//! | feature | |
//! | --- | --- |
//! | `macros` | the attribute; on by default |
//! | `control` | [`control`], and restarts that hand sockets over |
//! | `cli` | [`cli`], with clap; brings `control` |
//! | `stream` | [`Reloads::stream`] |
//!
//! # Exit statuses of the process that was started
//!
//! | status | meaning |
//! | --- | --- |
//! | 0 | the service is ready, and its pidfile names it |
//! | 1 | a hook returned an error, but for `configure` |
//! | 2 | a setting or an argument is wrong |
//! | 78 | `configure` returned an error: the configuration is wrong (`EX_CONFIG` of sysexits(3)) |
//! | 80 | it runs already; the message names the pid |
//! | 80 + N | step N of daemon(7) failed (81 … 95) |
//! | 96 | a hook after `configure` called `exit(0)`; in `configure` it ends a start or command with 0 |
//! | 97 | not ended within `stop_timeout`: the status of the daemon, or of the service in the foreground |
//! | 101 | a hook panicked |
//! | 124 | not ready within `start_timeout` |
//! | 128 + N | the daemon was killed by signal N before it was ready |
//! | K | a hook called `exit(K)` |
//!
//! After a failed start nothing is left: no process, no pidfile, no lock.
//!
//! # What does not survive the forks
//!
//! What `configure` returns lives on in the daemon, and the process that was started never drops
//! it. But a fork does not take along POSIX record locks (fcntl(2)), memory locks, timers
//! (timer_create(2), setitimer(2)), other threads, nor what belongs to one process by its library's
//! rules, such as an open SQLite database. Open those in `init`; put much memory there, too, for a
//! fork copies the page tables of what is in use.
//!
//! # What the daemon inherits and keeps
//!
//! The scheduling policy, the control group, namespaces, seccomp filters, and the security label are
//! the caller's, who may have set them for the service. So are the nice value, `oom_score_adj`, CPU
//! affinity and resource limits that are not among the settings. It does not keep the
//! caller's session keyring.
//!
//! # Platforms
//!
//! Linux is where it is tested. For other Unixes the code type-checks; without Linux's subreaper,
//! pidfds, capabilities and keyrings less can be promised there, and there is no [`control`].
//!
//! On Windows, and any other system that is not Unix, the same source compiles. The hooks and the
//! main loop run in the foreground, and Ctrl-C requests termination (on Windows). A setting on which
//! the service would rely (`user`, `chroot`, `mode = "detach"` …) is refused there with status 2;
//! `docs/limits.md` has the list. What needs a descriptor does not exist: `Daemon::keep_fd`,
//! [`store_fd`], `AsFd` of [`Shutdown`], Unix sockets for [`listen`](listen()).

// On docs.rs each item says which feature it takes.
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg(hide(unix))))]
#![cfg_attr(
    not(all(feature = "control", target_os = "linux")),
    allow(dead_code, unused_imports, reason = "control asks for it")
)]

#[cfg(all(feature = "cli", any(target_os = "linux", not(unix))))]
pub mod cli;
#[cfg(all(feature = "control", target_os = "linux"))]
pub mod control;
#[cfg(all(unix, not(all(feature = "control", target_os = "linux"))))]
#[path = "control/none.rs"]
mod control;
#[cfg(test)]
mod corpus;
mod cpus;
mod daemon;
#[cfg(not(unix))]
mod elsewhere;
mod error;
pub mod hooks;
mod limits;
#[cfg(unix)]
mod manager;
mod names;
#[cfg(unix)]
mod report;
#[cfg(unix)]
mod service;
#[cfg(unix)]
mod start;
mod started;
mod status;
mod step;
#[cfg(unix)]
mod steps;
#[cfg_attr(not(unix), path = "sys/elsewhere.rs")]
mod sys;

/// The README's example, compiled with the tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use daemon::places::{Places, places};
pub use daemon::{AlreadyRunning, Daemon, Log, Mode, NameOrId, ParseModeError};
#[cfg(feature = "macros")]
pub use daemon_macros::daemon;
pub use error::{Error, ErrorKind};
pub use hooks::ready::Ready;
#[cfg(unix)]
pub use manager::{Watchdog, watchdog};
#[cfg(unix)]
pub use report::notify::{remove_stored_fd, store_fd};
#[cfg(unix)]
pub use service::drain::{Drained, Hold};
#[cfg(unix)]
pub use service::listen::{Address, Listen, Listener, listen, listener_or, listeners};
#[cfg(unix)]
pub use service::reload::{Reload, Reloads, reloads};
#[cfg(unix)]
pub use service::shutdown::{Shutdown, shutdown};
#[cfg(unix)]
pub use service::status::status;
pub use started::Started;
#[cfg(unix)]
pub use steps::pidfile::Pidfile;

#[cfg(all(feature = "control", not(unix)))]
pub use elsewhere::control;
#[cfg(not(unix))]
pub use elsewhere::drain::{Drained, Hold};
#[cfg(not(unix))]
pub use elsewhere::listen::{Address, Listen, Listener, listen, listener_or, listeners};
#[cfg(not(unix))]
pub use elsewhere::pidfile::Pidfile;
#[cfg(not(unix))]
pub use elsewhere::reload::{Reload, Reloads, reloads};
#[cfg(not(unix))]
pub use elsewhere::report::status;
#[cfg(not(unix))]
pub use elsewhere::shutdown::{Shutdown, shutdown};
#[cfg(not(unix))]
pub use elsewhere::watchdog::{Watchdog, watchdog};
#[cfg(not(unix))]
use elsewhere::{end, report};
