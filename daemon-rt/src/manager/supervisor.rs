//! The supervisors that a parent process is known by: those that run a service as their child and
//! say so by no variable.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid, getppid, read};

use crate::sys::{proc, retry};

/// What a parent process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supervisor {
    Runit,
    S6,
    Daemontools,
    OpenRc,
    Supervisord,
    Dinit,
    /// An init of a container, which ends when the command that it was given does.
    Shim,
    /// What a container's runtime leaves beside it. A container may share the pid namespace of its
    /// host.
    Runtime,
    /// One that is not asked by any command here.
    Other(&'static str),
}

/// The names under which they run, cut at the 15 bytes that the kernel keeps.
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
    /// The supervisor that a process is, if it is certain that it supervises this child.
    pub(crate) fn of(process: Pid, child: Pid) -> Option<Self> {
        // Where /proc is of another pid namespace, the name was another process's. That is looked
        // at last: each start comes by here.
        Self::by_name(process, child).filter(|_| proc::is_ours())
    }

    fn by_name(process: Pid, child: Pid) -> Option<Self> {
        let mut name = [0; 16];
        let name = comm(process, &mut name)?;
        if let Some((_, known)) = BY_NAME.iter().find(|(known, _)| *known == name) {
            return Some(*known);
        }
        // These names say less: an interpreter, a word that other programs are called by, a title.
        match name {
            b"daemon" => was_given_command(process, child).then_some(Self::Other("daemon")),
            _ if name.starts_with(b"python") => python(process),
            _ if name.starts_with(b"PM2 v") => Some(Self::Other("PM2")),
            _ => None,
        }
    }
}

/// The name of a process. With its newline it is no longer than the buffer.
pub(crate) fn comm(process: Pid, buffer: &mut [u8; 16]) -> Option<&[u8]> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = open(
        format!("/proc/{process}/comm").as_str(),
        flags,
        Mode::empty(),
    )
    .ok()?;
    let length = retry(|| read(&file, buffer)).ok()?;
    Some(buffer[..length].trim_ascii_end())
}

/// The arguments of a process.
pub(crate) fn arguments(process: Pid) -> Vec<Vec<u8>> {
    let Ok(line) = std::fs::read(format!("/proc/{process}/cmdline")) else {
        return Vec::new();
    };
    line.strip_suffix(&[0])
        .unwrap_or(&line)
        .split(|&byte| byte == 0)
        .map(<[u8]>::to_vec)
        .collect()
}

/// A supervisor written in Python, run as a module or as a script. A script that the kernel has
/// executed itself has its own name.
fn python(process: Pid) -> Option<Supervisor> {
    let arguments = arguments(process);
    // Options that take no value may come first.
    let mut rest = arguments
        .iter()
        .skip(1)
        .skip_while(|word| word.starts_with(b"-") && word.as_slice() != b"-m");
    let program = rest.next()?;
    let (program, is_module) = if program == b"-m" {
        (rest.next()?, true)
    } else {
        (program, false)
    };
    match Path::new(OsStr::from_bytes(program))
        .file_name()?
        .as_bytes()
    {
        b"supervisord" | b"supervisord.py" if !is_module => Some(Supervisor::Supervisord),
        b"supervisor.supervisord" if is_module => Some(Supervisor::Supervisord),
        b"circusd" if !is_module => Some(Supervisor::Other("circus")),
        b"circus.circusd" if is_module => Some(Supervisor::Other("circus")),
        _ => None,
    }
}

/// Whether the arguments of a process end with those of its child: it was given this command to
/// run. daemon(1) may put a title before the first word.
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

/// Programs that run the command that they are given once.
const LAUNCHERS: [&[u8]; 20] = [
    b"ash", b"bash", b"busybox", b"dash", b"doas", b"fish", b"ksh", b"mksh", b"runuser", b"script",
    b"sh", b"ssh", b"strace", b"su", b"sudo", b"systemd", b"time", b"timeout", b"xargs", b"zsh",
];

/// A line for the start that finds the service running: its parent may be a supervisor that is not
/// known, and that has started it before. It may be where it is PID 1, or was given this command to
/// run.
pub(super) fn hint() -> Option<String> {
    let (parent, mut name) = (getppid(), [0; 16]);
    let is_init = parent.as_raw() == 1;
    let name = if proc::is_ours() {
        comm(parent, &mut name)
    } else {
        None
    };
    // PID 1 may be an init of any name: busybox is.
    let may_be = match name {
        Some(b"systemd") => false,
        Some(name) => is_init || was_given_command(parent, getpid()) && !LAUNCHERS.contains(&name),
        None => is_init,
    };
    if !may_be {
        return None;
    }
    let name = String::from_utf8_lossy(name.unwrap_or(b"the parent"));
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    Some(format!(
        "if {name} (pid {parent}) is to keep it running, it must not detach: set DAEMON_MODE=foreground, or the mode \"foreground\""
    ))
}
