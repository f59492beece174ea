//! Whether what came of a start is all right: all or nothing, and the starter's word is true.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use daemon_tests::{Descriptor, Proc, Running, Scene, Started};

use crate::{
    faults::Fault,
    scenarios::{Expected, NAME, Scenario},
    tracer::{Call, Role, Seen},
};

/// What a start may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Status 0, and the daemon is there, ready and fully detached.
    Ready,
    /// Another status, a message that names the step, and nothing is left.
    Refused,
    /// The starter was killed: before the fork nothing has begun, after it the daemon goes on by itself.
    Orphaned,
    /// The call did not come this time, and the start went as if nothing had been tried.
    Missed,
}

/// How long a start may take; what times out by `start_timeout` takes longer.
const PROMPT: Duration = Duration::from_secs(6);
/// How long a process may take to do what it is about to do.
const SOON: Duration = Duration::from_secs(5);

type Violations = Result<(), String>;

/// Waits for the starter's end, and looks at what it has left.
pub(crate) fn judge(
    scenario: Scenario,
    scene: &Scene,
    running: Running<'_>,
    fault: Option<Fault>,
    seen: &Seen,
) -> Result<Outcome, String> {
    let started = catch_unwind(AssertUnwindSafe(|| running.wait()))
        .map_err(|panic| panic.downcast::<String>().map_or_else(|_| "it hangs".to_owned(), |text| *text))?;
    let with_outcome = |problem| format!("{problem}\n{started:#?}");
    let killed = started.status.signal() == Some(libc::SIGKILL) && is_starter(seen.struck.as_ref());
    if killed && fault == Some(Fault::Kill) {
        let begun = seen.forked && scenario.succeeds();
        let result = if begun { good(scenario, scene, None) } else { soon(|| nobody_left(scenario, scene)) };
        return result.map(|()| Outcome::Orphaned).map_err(with_outcome);
    }
    if started.elapsed > PROMPT {
        return Err(with_outcome("it took too long".to_owned()));
    }
    if started.status.success() {
        if !scenario.succeeds() {
            return Err(with_outcome("status 0, but `init` has failed".to_owned()));
        }
        if !started.pipes_closed {
            return Err(with_outcome("the daemon holds the caller's pipes".to_owned()));
        }
        good(scenario, scene, seen.struck.as_ref()).map_err(with_outcome)?;
    } else {
        nothing_left(scenario, scene, seen.struck.as_ref()).map_err(with_outcome)?;
        says_why(&started, fault, seen.struck.as_ref()).map_err(with_outcome)?;
    }
    match (&seen.struck, started.status.success()) {
        (None, success) if success == scenario.succeeds() => Ok(Outcome::Missed),
        (None, _) => Err(with_outcome("it failed without a fault".to_owned())),
        (_, true) => Ok(Outcome::Ready),
        (_, false) => Ok(Outcome::Refused),
    }
}

fn is_starter(struck: Option<&Call>) -> bool {
    struck.is_some_and(|call| call.role == Role::Starter)
}

/// The message on stderr, unless it was the writing of it that failed.
fn says_why(started: &Started, fault: Option<Fault>, struck: Option<&Call>) -> Violations {
    // On stderr, or, in the daemon, to the starter.
    let writing = |call: &Call| call.number == libc::SYS_write && (call.arguments[0] == 2 || call.role == Role::Daemon);
    let named = |line: &str| {
        // Before `configure` has set the name it is the binary's.
        let text = [NAME, "svc"].iter().find_map(|name| line.strip_prefix(name)?.strip_prefix(": "));
        // How a process died is the whole truth only where it was killed.
        let step = |text: &str| fault == Some(Fault::Kill) || !text.starts_with("cannot start: ");
        text.is_some_and(|text| text.starts_with("cannot ") && step(text) || text.starts_with("already running: "))
    };
    // Rust's runtime without memory, and the C library's modules for names, say what they want to and end by SIGABRT.
    let aborted = started.status.signal() == Some(libc::SIGABRT) && !started.stderr.is_empty();
    let said = aborted || struck.is_some_and(writing) || started.stderr.lines().any(named);
    check(said, || "no message".to_owned())
}

/// No process, no lock, no pidfile that names somebody alive.
fn nobody_left(scenario: Scenario, scene: &Scene) -> Violations {
    let pidfile = scenario.pidfile(scene);
    check(scene.processes().is_empty(), || format!("a process is left:\n{}", scene.tree()))?;
    check(scene.lock_holders(&pidfile).is_empty(), || "the lock is held".to_owned())?;
    let named = fs::read_to_string(&pidfile).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let alive = named.and_then(Proc::new).is_some_and(|process| !process.is_gone());
    check(!alive, || format!("the pidfile names {named:?}, which lives"))
}

/// Nor a control socket, unless it was its removal that failed. (One that is left by a starter that was killed while it
/// cleaned up does no harm.)
fn nothing_left(scenario: Scenario, scene: &Scene, struck: Option<&Call>) -> Violations {
    nobody_left(scenario, scene)?;
    if struck.is_some_and(|call| [libc::SYS_unlink, libc::SYS_unlinkat].contains(&call.number)) {
        return Ok(());
    }
    // What a dead instance had left before is no socket.
    let socket = fs::symlink_metadata(scenario.control_socket(scene));
    let socket = socket.is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()));
    check(!socket, || "the control socket is left".to_owned())
}

/// The daemon is there and fully detached, or will be in a moment: it closes its end of the pipe after it has written.
fn good(scenario: Scenario, scene: &Scene, struck: Option<&Call>) -> Violations {
    soon(|| {
        // A process that ends meanwhile makes the harness panic.
        catch_unwind(AssertUnwindSafe(|| detached(scenario, scene, struck)))
            .unwrap_or_else(|panic| Err(panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |text| *text)))
    })
}

fn detached(scenario: Scenario, scene: &Scene, struck: Option<&Call>) -> Violations {
    let processes = scene.processes();
    let [daemon] = processes.as_slice() else { return Err(format!("not one daemon:\n{}", scene.tree())) };
    let Expected { uid, groups, capabilities, no_new_privs, root, directory } = scenario.expected(scene);
    let (stat, status) = (daemon.stat(), daemon.status());

    let pidfile = scenario.pidfile(scene);
    let named = fs::read_to_string(&pidfile).unwrap_or_default();
    check(named == format!("{}\n", daemon.pid()), || format!("the pidfile holds {named:?}, not {}", daemon.pid()))?;
    check(scene.lock_holders(&pidfile).len() == 1, || "the pidfile is not locked once".to_owned())?;

    let (pid, session, group) = (daemon.pid(), stat.session, stat.pgrp);
    check(session != pid && session == group, || format!("session {session}, group {group}, pid {pid}"))?;
    check(stat.tty_nr == 0, || format!("terminal {:#x}", stat.tty_nr))?;

    let uids = [status.ruid, status.euid, status.suid, status.fuid];
    let gids = [status.rgid, status.egid, status.sgid, status.fgid];
    check(uids == [uid; 4] && gids == [uid; 4], || format!("uids {uids:?}, gids {gids:?}"))?;
    let mut found = status.groups.clone();
    found.sort_unstable();
    check(found == groups, || format!("groups {found:?}, not {groups:?}"))?;
    let sets = [status.capprm, status.capeff, status.capinh, status.capamb.unwrap_or(0)];
    check(sets == [capabilities, capabilities, 0, 0], || format!("capabilities {sets:x?}"))?;
    check(status.nonewprivs == Some(no_new_privs), || format!("no_new_privs {:?}", status.nonewprivs))?;

    check(status.umask == Some(0o27), || format!("umask {:?}", status.umask))?;
    let (cwd, its_root) = (daemon.cwd(), daemon.root());
    check(cwd == directory && its_root == root, || {
        format!("directory {}, root {}", cwd.display(), its_root.display())
    })?;
    let (ignored, blocked) = (daemon.ignored(), daemon.blocked());
    // pthread_create(3) does not look whether the mask could be restored.
    let by_library = struck.is_some_and(|call| call.number == libc::SYS_rt_sigprocmask && call.nth > 1);
    check(ignored == [libc::SIGPIPE] && (by_library || blocked.is_empty()), || {
        format!("ignored {ignored:?}, blocked {blocked:?}")
    })?;
    let environ = daemon.environ();
    let secret = |entry: &OsString| entry.to_string_lossy().contains("SECRET");
    check(!environ.iter().any(secret), || format!("environment {environ:?}"))?;
    descriptors(scenario, scene, daemon)
}

/// Stdio is where it should be, and what is open besides is the pidfile, the control socket, and pipes of the daemon's
/// own.
fn descriptors(scenario: Scenario, scene: &Scene, daemon: &Proc) -> Violations {
    let open = daemon.descriptors();
    let [out, err] = scenario.logs(scene);
    for (number, path) in [(0, Path::new("/dev/null")), (1, &out), (2, &err)] {
        let target = open.get(&number).map(|descriptor| descriptor.target.as_path());
        check(target == Some(path), || format!("descriptor {number} leads to {target:?}"))?;
    }
    let pidfile = scenario.pidfile(scene);
    let both_ends = |pipe: &Path| open.values().filter(|other| other.target == pipe).count() == 2;
    let expected = |descriptor: &Descriptor| {
        let target = &descriptor.target;
        let kind = target.to_string_lossy();
        descriptor.cloexec()
            && (*target == pidfile && descriptor.access() == libc::O_RDONLY
                || kind.starts_with("socket:")
                || kind.starts_with("pipe:") && both_ends(target))
    };
    let wrong = open.iter().find(|(number, descriptor)| **number > 2 && !expected(descriptor));
    check(wrong.is_none(), || format!("open descriptor {wrong:?}"))
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Violations {
    if holds { Ok(()) } else { Err(problem()) }
}

/// Polls until it is so; the last problem if it does not come to be.
fn soon(look: impl Fn() -> Violations) -> Violations {
    let deadline = Instant::now() + SOON;
    loop {
        match look() {
            Err(problem) if Instant::now() > deadline => return Err(problem),
            Err(_) => sleep(Duration::from_millis(2)),
            Ok(()) => return Ok(()),
        }
    }
}
