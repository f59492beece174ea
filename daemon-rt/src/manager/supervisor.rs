//! The supervisors that run a service as their child and set no variable that says so: recognized
//! by the name of the parent process.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid, getppid, read};

use crate::sys::{proc, retry};

/// The supervisor that a parent process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supervisor {
    Runit,
    S6,
    Daemontools,
    OpenRc,
    Supervisord,
    Dinit,
    /// The init of a container, which ends when its command does.
    Shim,
    /// The monitor of a container's runtime, outside of the container. A container can share the
    /// pid namespace of its host.
    Runtime,
    /// One that this library has no commands for.
    Other(&'static str),
}

/// The names of their processes, cut at the 15 bytes that the kernel keeps.
const BY_NAME: [(&[u8], Supervisor); 13] = [
    (b"runsv", Supervisor::Runit),
    (b"s6-supervise", Supervisor::S6),
    (b"supervise", Supervisor::Daemontools),
    (b"supervise-daemo", Supervisor::OpenRc),
    (b"supervisord", Supervisor::Supervisord),
    (b"dinit", Supervisor::Dinit),
    (b"tini", Supervisor::Shim),
    (b"docker-init", Supervisor::Shim),
    (b"dumb-init", Supervisor::Shim),
    (b"catatonit", Supervisor::Shim),
    (b"containerd-shim", Supervisor::Runtime),
    (b"conmon", Supervisor::Runtime),
    (b"circusd", Supervisor::Other("circus")),
];

impl Supervisor {
    /// Returns the supervisor that a process is, if it certainly supervises this child.
    pub(crate) fn of(process: Pid, child: Pid) -> Option<Self> {
        let supervisor = Self::by_name(process, child)?;
        // If /proc is of another pid namespace, the name is another process's. This is checked
        // last: each start comes here, and few find a name.
        if proc::is_ours() {
            Some(supervisor)
        } else {
            None
        }
    }

    fn by_name(process: Pid, child: Pid) -> Option<Self> {
        let mut buffer = [0; 16];
        let name = comm(process, &mut buffer)?;
        if let Some((_, supervisor)) = BY_NAME.iter().find(|(known, _)| *known == name) {
            return Some(*supervisor);
        }
        // These names are ambiguous: an interpreter, a common word, a title.
        match name {
            b"daemon" if was_given_command(process, child) => Some(Self::Other("daemon")),
            _ if name.starts_with(b"python") => python(process),
            _ if name.starts_with(b"PM2 v") => Some(Self::Other("PM2")),
            _ => None,
        }
    }
}

/// Reads the name of a process. With its newline it fits into the buffer.
pub(crate) fn comm(process: Pid, buffer: &mut [u8; 16]) -> Option<&[u8]> {
    let path = format!("/proc/{process}/comm");
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = open(path.as_str(), flags, Mode::empty()).ok()?;
    let length = retry(|| read(&file, buffer)).ok()?;
    Some(buffer[..length].trim_ascii_end())
}

/// Reads the arguments of a process.
pub(crate) fn arguments(process: Pid) -> Vec<Vec<u8>> {
    let Ok(mut line) = std::fs::read(format!("/proc/{process}/cmdline")) else {
        return Vec::new();
    };
    if line.ends_with(&[0]) {
        line.pop();
    }
    line.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}

/// Checks whether a process is supervisord(1), of whichever child.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) fn is_supervisord(process: Pid) -> bool {
    let mut buffer = [0; 16];
    match comm(process, &mut buffer) {
        Some(b"supervisord") => true,
        Some(name) if name.starts_with(b"python") => {
            python(process) == Some(Supervisor::Supervisord)
        }
        _ => false,
    }
}

/// A supervisor written in Python, run as a module or as a script. (A script that the kernel
/// executes by its `#!` line has its own name.)
fn python(process: Pid) -> Option<Supervisor> {
    let arguments = arguments(process);
    let mut words = arguments.iter().skip(1).map(Vec::as_slice);
    let program = loop {
        match words.next()? {
            b"-m" => return python_module(words.next()?),
            // An option with a value.
            b"-W" | b"-X" => _ = words.next()?,
            option if option.starts_with(b"-") => {}
            program => break program,
        }
    };
    let program = Path::new(OsStr::from_bytes(program)).file_name()?;
    match program.as_bytes() {
        b"supervisord" | b"supervisord.py" => Some(Supervisor::Supervisord),
        b"circusd" => Some(Supervisor::Other("circus")),
        _ => None,
    }
}

fn python_module(name: &[u8]) -> Option<Supervisor> {
    match name {
        b"supervisor.supervisord" => Some(Supervisor::Supervisord),
        b"circus.circusd" => Some(Supervisor::Other("circus")),
        _ => None,
    }
}

/// Whether a process was given its child's command to run: its arguments end with the child's.
/// daemon(1) may put a title before the first word.
fn was_given_command(process: Pid, child: Pid) -> bool {
    let own = arguments(child);
    let arguments = arguments(process);
    let tail = &arguments[arguments.len().saturating_sub(own.len())..];
    match (tail, own.as_slice()) {
        ([program, rest @ ..], [own_program, own_rest @ ..]) => {
            own_program.ends_with(program) && rest == own_rest
        }
        _ => false,
    }
}

/// Programs that run the command that they are given once, and do not supervise it.
const LAUNCHERS: [&[u8]; 20] = [
    b"ash", b"bash", b"busybox", b"dash", b"doas", b"fish", b"ksh", b"mksh", b"runuser", b"script",
    b"sh", b"ssh", b"strace", b"su", b"sudo", b"systemd", b"time", b"timeout", b"xargs", b"zsh",
];

/// A line for a start that finds the service running: the parent may be an unknown supervisor that
/// has started it before. It may be one if it is PID 1, or was given this command to run.
pub(super) fn hint() -> Option<String> {
    let parent = getppid();
    let is_init = parent.as_raw() == 1;
    let mut buffer = [0; 16];
    let mut name = comm(parent, &mut buffer);
    // PID 1 can have any name: busybox has its own.
    if !is_init {
        let given_name = name?;
        if LAUNCHERS.contains(&given_name) || !was_given_command(parent, getpid()) {
            return None;
        }
    }
    // This is checked last: it takes longest.
    if !proc::is_ours() {
        name = None;
    }
    match name {
        Some(b"systemd") => return None,
        None if !is_init => return None,
        _ => {}
    }
    let mut name = String::from_utf8_lossy(name.unwrap_or(b"the parent")).into_owned();
    name.retain(|c| !c.is_control());
    Some(format!(
        "if {name} (pid {parent}) supervises it, it must not detach: set DAEMON_MODE=foreground, or the mode \"foreground\""
    ))
}
