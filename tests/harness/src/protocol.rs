//! What a test and its keeper say to each other: a line of JSON each, [`Request`]s on the keeper's
//! stdin and [`Event`]s on its stdout. The end of the keeper's stdin is the end of the scene.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a test asks of its keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Start this; answered, as every request, by [`Event::Done`] or [`Event::Refused`] with the
    /// same number.
    Start(u64, Box<Spec>),
    /// Make this terminal the controlling one of the keeper's session.
    Terminal(u64, PathBuf),
    /// Whether to reap adopted processes at once, as init does, or not at all, as a careless PID 1
    /// does.
    ReapOrphans(u64, bool),
}

/// What a keeper tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Request N was carried out; for a start, this is the pid.
    Done(u64, i32),
    /// Request N failed.
    Refused(u64, String),
    /// A child, started or adopted, ended with this wait status.
    Ended(i32, i32),
    /// A process that has nothing to do with what was started, and has a pid beside it.
    Bystander(i32),
}

/// Where one of the descriptors 0 to 2 leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// A pipe, the other end of which the test holds.
    Pipe,
    /// The scene's terminal.
    Terminal,
    /// This file; for output it is created if need be, and appended to.
    File(PathBuf),
    /// Nowhere: the descriptor is closed.
    Closed,
}

/// A program and its surroundings. The builder [`Launch`](crate::Launch) says what each field
/// means.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub arg0: Option<OsString>,
    pub env: Vec<Vec<u8>>,
    pub stdio: [Stdio; 3],
    pub descriptors: BTreeMap<i32, PathBuf>,
    pub directory: PathBuf,
    pub umask: u32,
    pub blocked: u64,
    pub ignored: u64,
    pub terminal: Option<PathBuf>,
    pub group: Group,
    pub nice: Option<i32>,
    pub oom_score_adj: Option<i32>,
    pub rlimits: Vec<(u32, libc::rlim_t, libc::rlim_t)>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub groups: Option<Vec<u32>>,
    pub bounding_without: u64,
    pub inheritable: u64,
    pub ambient: u64,
    pub securebits: Option<u32>,
    pub no_new_privs: bool,
    pub without_proc: bool,
    pub namespaces: Option<(Namespaces, Option<i32>)>,
    pub denied: Vec<(libc::c_long, i32)>,
    pub gate: Option<PathBuf>,
}

/// Namespaces that a program starts in: as in a container, but with the files and the network of
/// the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Namespaces {
    /// A pid namespace of its own.
    pub pids: bool,
    /// What is at `/proc`, in a mount namespace of its own.
    pub proc: ProcMount,
    /// A new `/run`, which belongs to this user.
    pub run_of: Option<u32>,
    /// A user namespace, in which this user is root, and no one else is known.
    pub root_is: Option<u32>,
}

/// What is at `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProcMount {
    /// The one that was there before: with a pid namespace it shows the processes of another one.
    Outer,
    /// An empty directory.
    Absent,
    /// A new one of the pid namespace, with these options.
    New(Hidden),
}

/// What a `/proc` does not show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Hidden {
    /// It shows everything.
    Nothing,
    /// All but processes (`subset=pid`): no `/proc/locks`, no `/proc/sys`.
    AllButProcesses,
    /// Processes of other users (`hidepid=2`).
    ProcessesOfOthers,
}

/// The process group and session that a program starts in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Group {
    /// A group of its own, as a job of an interactive shell.
    Own,
    /// The keeper's group, as a command in a script.
    Inherited,
    /// A session of its own, as under setsid(1).
    Session,
}
