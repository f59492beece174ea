//! The answers of [`Control`](super::Control).

use std::time::SystemTime;

/// State of a service, as its pidfile and the locks on it tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It runs, and is ready.
    Running {
        /// The process.
        pid: u32,
        /// The time at which the process was started; `None` where the system does not say (/proc
        /// is missing, or hides it).
        since: Option<SystemTime>,
    },
    /// It runs, and is ready, in another pid namespace: in a container that shares the pidfile,
    /// say. No signal can be sent to it from here.
    RunningElsewhere {
        /// The number of the process there.
        pid: u32,
    },
    /// It is starting, and not ready yet.
    Starting {
        /// The process; `None` if it has not written its pid, or is in another pid namespace.
        pid: Option<u32>,
    },
    /// It has ended without removing its pidfile. The file is stale: its lock is free.
    Dead {
        /// The process that the file names, if it names one.
        pid: Option<u32>,
    },
    /// There is no pidfile.
    NotRunning,
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// Outcome of [`Control::stop`](super::Control::stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It did not run.
    NotRunning,
    /// It has ended in time after SIGTERM.
    Terminated {
        /// The process that has ended.
        pid: u32,
    },
    /// It did not end in time, and was killed by SIGKILL.
    Killed {
        /// The process that has ended.
        pid: u32,
    },
}

/// Outcome of [`Control::reload`](super::Control::reload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reloaded {
    /// The service has reloaded.
    Done,
    /// SIGHUP was sent. The service does not say when it has reloaded.
    Requested,
}
