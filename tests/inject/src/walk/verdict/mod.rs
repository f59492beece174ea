//! Whether what came of a start is all right: all or nothing, and the starter's word is true.

mod foreground;
mod launched;
mod managed;
mod restart;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use daemon_harness::{Descriptor, Proc, Running, Scene, Started, text_of};

use crate::walk::faults::Fault;
use crate::walk::manager::Manager;
use crate::walk::scenarios::{Expected, Old, Scenario};
use crate::walk::strike::{Call, Role, Seen};

/// A start, and what befell it.
pub(crate) struct Case<'s> {
    pub(crate) scenario: Scenario,
    pub(crate) scene: &'s Scene,
    pub(crate) old: Option<Old>,
    pub(crate) fault: Option<Fault>,
    pub(crate) seen: Seen,
}

/// What a start may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Status 0, and the daemon is there, ready and fully detached.
    Ready,
    /// Another status, a message that names the step, and nothing is left.
    Refused,
    /// The process that was started was killed: a starter before the fork has begun nothing, and
    /// after it the daemon goes on by itself.
    Killed,
    /// The call did not come this time, and the start went as if nothing had been tried.
    Missed,
}

/// How long a start may take; what times out by `start_timeout` takes longer.
const PROMPT: Duration = Duration::from_secs(6);
/// What is said of one that takes longer.
pub(crate) const TOO_LONG: &str = "it took too long";
/// How long a process may take to do what it is about to do.
const SOON: Duration = Duration::from_secs(20);

/// The calls that remove a file.
const REMOVALS: [i64; 2] = [libc::SYS_unlink, libc::SYS_unlinkat];

type Violations = Result<(), String>;

impl Case<'_> {
    fn struck(&self) -> Option<&Call> {
        self.seen.struck.as_ref()
    }

    /// Whether it was one of these calls that failed.
    fn struck_at(&self, numbers: &[i64]) -> bool {
        self.fault != Some(Fault::Kill)
            && self
                .struck()
                .is_some_and(|call| numbers.contains(&call.number))
    }

    /// Whether a daemon that is ready may have its signals blocked: pthread_create(3) does not look
    /// whether the mask could be restored.
    fn is_deaf(&self) -> bool {
        self.struck_at(&[libc::SYS_rt_sigprocmask])
            && self.struck().is_some_and(|call| call.nth > 1)
    }

    /// Whether it befell a process of this role.
    fn befell(&self, role: Role) -> bool {
        self.struck().is_some_and(|call| call.role == role)
    }

    /// Whether it was a process of this role that was killed.
    fn killed(&self, role: Role) -> bool {
        self.fault == Some(Fault::Kill) && self.befell(role)
    }
}

/// Waits for the end of the start, and looks at what has come of it.
pub(crate) fn judge(
    case: &Case<'_>,
    manager: Option<Manager>,
    running: Running<'_>,
) -> Result<Outcome, String> {
    if case.scenario == Scenario::Foreground {
        return foreground::judge(case, manager.expect("a manager"), running);
    }
    let started = ended(running)?;
    let judged = || {
        let is_killed = case.killed(Role::Starter) || case.killed(Role::Caller);
        if started.elapsed > PROMPT && !is_killed {
            return Err(TOO_LONG.to_owned());
        }
        let outcome = match &case.old {
            Some(old) => restart::outcome(case, &started, old)?,
            None if case.scenario == Scenario::Launched => launched::outcome(case, &started)?,
            None => outcome(case, &started)?,
        };
        manager.map_or(Ok(()), |manager| {
            managed::told(case, started.status.success(), &started, &manager.heard())
        })?;
        Ok(outcome)
    };
    judged().map_err(|problem| format!("{problem}\n{started:#?}"))
}

/// Waits for its end.
fn ended(running: Running<'_>) -> Result<Started, String> {
    catch_unwind(AssertUnwindSafe(|| running.wait())).map_err(text_of)
}

/// What came of an ordinary start.
fn outcome(case: &Case<'_>, started: &Started) -> Result<Outcome, String> {
    if case.killed(Role::Starter) {
        let begun = case.seen.forked && case.scenario.succeeds();
        if begun {
            good(case)
        } else {
            soon(|| nobody_left(case))
        }?;
        return Ok(Outcome::Killed);
    }
    if started.status.success() {
        check(case.scenario.succeeds(), || {
            "status 0, but `init` has failed".to_owned()
        })?;
        check(started.pipes_closed, || {
            "the daemon holds the caller's pipes".to_owned()
        })?;
        good(case)?;
    } else {
        nothing_left(case)?;
        says_why(case, started)?;
    }
    reached(case, started.status.success())
}

/// What it is called, unless it came otherwise than without a fault.
fn reached(case: &Case<'_>, ready: bool) -> Result<Outcome, String> {
    match case.struck() {
        None if ready == case.scenario.succeeds() => Ok(Outcome::Missed),
        None => Err("it failed without a fault".to_owned()),
        Some(_) if ready => Ok(Outcome::Ready),
        Some(_) => Ok(Outcome::Refused),
    }
}

/// Rust's runtime without memory, and the C library's modules for names, say what they want to and
/// end by SIGABRT; the runtime panics where a directory cannot be closed.
fn is_aborted(started: &Started) -> bool {
    let aborted = started.status.signal() == Some(libc::SIGABRT) && !started.stderr.is_empty();
    aborted || started.stderr.contains("unexpected error during closedir")
}

/// The message on stderr, unless it was the writing of it that failed.
fn says_why(case: &Case<'_>, started: &Started) -> Violations {
    // On stderr, or, in the daemon, to the starter.
    let to_starter =
        |call: &Call| call.role == Role::Daemon && case.scenario != Scenario::Foreground;
    let writing = |call: &Call| {
        [libc::SYS_write, libc::SYS_writev].contains(&call.number)
            && (call.arguments[0] == 2 || to_starter(call))
    };
    let named = |line: &str| {
        let text = case
            .scenario
            .names()
            .iter()
            .find_map(|name| line.strip_prefix(name)?.strip_prefix(": "));
        // How a process died is the whole truth only where it was killed, or where what it had said
        // was denied to the starter: the kernel never finds a pipe empty in which there is
        // something.
        let denied =
            case.fault == Some(Fault::Error(libc::EAGAIN)) && case.struck_at(&[libc::SYS_read]);
        let step = |text: &str| {
            case.fault == Some(Fault::Kill) || denied || !text.starts_with("cannot start: ")
        };
        text.is_some_and(|text| {
            text.starts_with("cannot ") && step(text) || text.starts_with("already running: ")
        })
    };
    let said = is_aborted(started)
        || case.struck().is_some_and(writing)
        || started.stderr.lines().any(named);
    check(said, || "no message".to_owned())
}

/// No process, no lock, no pidfile that names somebody alive.
fn nobody_left(case: &Case<'_>) -> Violations {
    let (scene, pidfile) = (case.scene, case.scenario.pidfile(case.scene));
    check(scene.processes().is_empty(), || {
        format!("a process is left:\n{}", scene.tree())
    })?;
    check(scene.lock_holders(&pidfile).is_empty(), || {
        "the lock is held".to_owned()
    })?;
    let named = fs::read_to_string(&pidfile)
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok());
    let alive = named
        .and_then(Proc::new)
        .is_some_and(|process| !process.is_gone());
    check(!alive, || {
        format!("the pidfile names {named:?}, which lives")
    })
}

/// Nor a control socket, unless it was its removal that failed. (One that is left by a starter that
/// was killed while it cleaned up does no harm.)
fn nothing_left(case: &Case<'_>) -> Violations {
    nobody_left(case)?;
    if case.struck_at(&REMOVALS) {
        return Ok(());
    }
    // What a dead instance had left before is no socket.
    let socket = fs::symlink_metadata(case.scenario.control_socket(case.scene));
    let socket =
        socket.is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
    check(!socket, || "the control socket is left".to_owned())
}

/// The daemon is there and fully detached, or will be in a moment: it closes its end of the pipe
/// after it has written.
fn good(case: &Case<'_>) -> Violations {
    soon(|| detached(case, &only_process(case.scene)?))
}

fn only_process(scene: &Scene) -> Result<Proc, String> {
    let mut processes = scene.processes();
    let last = processes.pop().filter(|_| processes.is_empty());
    last.ok_or_else(|| format!("not one daemon:\n{}", scene.tree()))
}

/// The pidfile names this process, and is locked.
fn owns_pidfile(case: &Case<'_>, daemon: &Proc) -> Violations {
    let pidfile = case.scenario.pidfile(case.scene);
    let mut named = fs::read_to_string(&pidfile).unwrap_or_default();
    if case
        .struck()
        .is_some_and(|call| call.number == libc::SYS_ftruncate)
    {
        // Where it could not be cut its first line counts.
        named = format!("{}\n", named.lines().next().unwrap_or_default());
    }
    check(named == format!("{}\n", daemon.pid()), || {
        format!("the pidfile holds {named:?}, not {}", daemon.pid())
    })?;
    let holders = case.scene.lock_holders(&pidfile);
    check(holders.len() == 1, || {
        format!("the pidfile is locked by {holders:?}")
    })?;
    let locked = daemon
        .descriptors()
        .values()
        .any(|open| open.target == pidfile && !open.locks.is_empty());
    check(locked, || "the daemon does not hold the lock".to_owned())
}

fn detached(case: &Case<'_>, daemon: &Proc) -> Violations {
    let in_foreground = case.scenario == Scenario::Foreground;
    let expected = case.scenario.expected(case.scene);
    let Expected {
        uid,
        groups,
        capabilities,
        no_new_privs,
        umask,
        root,
        directory,
        streams,
    } = expected;
    let (stat, status) = (daemon.stat(), daemon.status());

    owns_pidfile(case, daemon)?;

    let (pid, session, group) = (daemon.pid(), stat.session, stat.pgrp);
    let apart = if in_foreground {
        group == pid
    } else {
        session == group
    };
    check(session != pid && apart, || {
        format!("session {session}, group {group}, pid {pid}")
    })?;
    check(stat.tty_nr == 0, || format!("terminal {:#x}", stat.tty_nr))?;

    let uids = [status.ruid, status.euid, status.suid, status.fuid];
    let gids = [status.rgid, status.egid, status.sgid, status.fgid];
    check(uids == [uid; 4] && gids == [uid; 4], || {
        format!("uids {uids:?}, gids {gids:?}")
    })?;
    let mut found = status.groups.clone();
    found.sort_unstable();
    check(found == groups, || {
        format!("groups {found:?}, not {groups:?}")
    })?;
    let sets = [
        status.capprm,
        status.capeff,
        status.capinh,
        status.capamb.unwrap_or(0),
    ];
    check(sets == [capabilities, capabilities, 0, 0], || {
        format!("capabilities {sets:x?}")
    })?;
    check(status.nonewprivs == Some(no_new_privs), || {
        format!("no_new_privs {:?}", status.nonewprivs)
    })?;

    check(status.umask == Some(umask), || {
        format!("umask {:?}", status.umask)
    })?;
    let (cwd, its_root) = (daemon.cwd(), daemon.root());
    check(cwd == directory && its_root == root, || {
        format!("directory {}, root {}", cwd.display(), its_root.display())
    })?;
    let (ignored, blocked) = (daemon.ignored(), daemon.blocked());
    check(
        ignored == [libc::SIGPIPE] && (case.is_deaf() || blocked.is_empty()),
        || format!("ignored {ignored:?}, blocked {blocked:?}"),
    )?;
    let environ = daemon.environ();
    let secret = |entry: &OsString| entry.to_string_lossy().contains("SECRET");
    check(in_foreground || !environ.iter().any(secret), || {
        format!("environment {environ:?}")
    })?;
    descriptors(case, daemon, streams)
}

/// Stdio is where it should be, and what is open besides is the pidfile, the control socket, and
/// pipes of the daemon's own.
fn descriptors(case: &Case<'_>, daemon: &Proc, streams: [PathBuf; 3]) -> Violations {
    let open = daemon.descriptors();
    for (number, path) in (0..).zip(streams) {
        let target = open
            .get(&number)
            .map(|descriptor| descriptor.target.to_string_lossy());
        let pipe = path.ends_with("pipe:")
            && target
                .as_ref()
                .is_some_and(|target| target.starts_with("pipe:"));
        let leads_there = pipe || target.as_deref() == path.to_str();
        check(leads_there, || {
            format!("descriptor {number} leads to {target:?}")
        })?;
    }
    let pidfile = case.scenario.pidfile(case.scene);
    let both_ends = |pipe: &Path| open.values().filter(|other| other.target == pipe).count() == 2;
    let unadopted = case.scenario == Scenario::Foreground && case.struck_at(&[libc::SYS_fcntl]);
    let expected = |descriptor: &Descriptor| {
        let target = &descriptor.target;
        let kind = target.to_string_lossy();
        // In the foreground what cannot be taken from the manager is left alone.
        unadopted && target.ends_with("notified")
            || descriptor.cloexec()
                && (*target == pidfile && descriptor.access() == libc::O_RDONLY
                    || kind.starts_with("socket:")
                    || kind.starts_with("pipe:") && both_ends(target))
    };
    let wrong = open
        .iter()
        .find(|(number, descriptor)| **number > 2 && !expected(descriptor));
    check(wrong.is_none(), || format!("open descriptor {wrong:?}"))
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Violations {
    if holds { Ok(()) } else { Err(problem()) }
}

/// Polls until it is so; the last problem if it does not come to be.
fn soon<T>(look: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + SOON;
    // A process that ends meanwhile makes the harness panic.
    let look = || catch_unwind(AssertUnwindSafe(&look)).unwrap_or_else(|panic| Err(text_of(panic)));
    loop {
        match look() {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
}
