//! The old instance's part.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getsid};

use super::message::{MOST_DESCRIPTORS, PATIENCE, PAUSE, receive, send, write_sockets};
use super::word;
use crate::control::process::{Process, still_there};
use crate::control::wait::until_readable;
use crate::service::listen::{self, SocketCopy};
use crate::service::requests::note;
use crate::steps::pidfile;
use crate::sys;

/// A commit, as the old instance hears of it.
struct Commit {
    ends: When,
    /// The pidfile, open.
    pidfile: Vec<OwnedFd>,
}

/// What becomes of this process after a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It ends, as by SIGTERM.
    Soon,
    /// It lives on, until the program or an administrator ends it.
    Open,
}

/// The time at which this process is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    AfterRestarter,
}

/// Hands the service over. Whatever goes wrong, the pidfile says whether this process still owns
/// it.
pub(super) fn hand_over(connection: &OwnedFd, restarter: Pid) -> io::Result<()> {
    let restarter = sys::pidfd_open(restarter);
    let sockets = listen::copies_for_successor();
    if sockets.is_empty() {
        return send(connection, word::CANNOT, &[]);
    }
    match (offer(connection, sockets, Ending::Soon)?, restarter) {
        (None, _) => return Ok(()),
        // The new instance is the restarter's child until that has ended. A manager that sees this
        // process end before would take the new one for a stranger.
        (Some(When::AfterRestarter), Ok(restarter)) => {
            _ = until_readable(restarter, Some(PATIENCE));
        }
        _ => {}
    }
    // As by an administrator: the service finishes what it has begun. A filter may forbid the call,
    // and a failure is worth another try: no one else ends this process.
    while kill(getpid(), Signal::SIGTERM).is_err() && !note(libc::SIGTERM) {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Hands the pidfile over in an upgrade. The program has its own way to end this process.
pub(super) fn hand_over_and_live(connection: &OwnedFd) -> io::Result<()> {
    offer(connection, listen::copies_for_successor(), Ending::Open)?;
    Ok(())
}

/// Offers the lock and the sockets. Returns when this process is to end, if the restarter has
/// committed.
fn offer(
    connection: &OwnedFd,
    sockets: Vec<SocketCopy>,
    ending: Ending,
) -> io::Result<Option<When>> {
    let Some(lock) = pidfile::lock_descriptor() else {
        send(connection, word::CANNOT, &[])?;
        return Ok(None);
    };
    pidfile::begin_hand_over();
    let commit = match send_sockets(connection, lock, &sockets) {
        Ok(()) => await_commit(connection, lock),
        Err(_) => None,
    };
    drop(sockets);
    let ends = commit.map(|commit| give_up(commit, ending));
    pidfile::end_hand_over();
    Ok(ends)
}

/// Gives up what is the new instance's now, and says that this process lives on.
fn give_up(commit: Commit, ending: Ending) -> When {
    let mut sessions = Vec::new();
    for pidfile in &commit.pidfile {
        sessions.extend(sessions_of_old(pidfile.as_fd()));
    }
    pidfile::set_old_sessions(&sessions);
    pidfile::disown();
    for pidfile in &commit.pidfile {
        pidfile::set_old(pidfile.as_fd());
        if ending == Ending::Open {
            pidfile::set_kept(pidfile.as_fd());
        }
    }
    // To close it would unlock the byte that says so.
    std::mem::forget(commit.pidfile);
    listen::drop_copies();
    commit.ends
}

/// Finds the sessions in which this instance and older ones may leave processes. A daemon has one of
/// its own.
fn sessions_of_old(pidfile: BorrowedFd<'_>) -> Vec<Pid> {
    let mut sessions = pidfile::old_sessions(pidfile);
    if !sessions.is_empty() {
        sessions = match Process::of(getpid()) {
            Some(this) => still_there(sessions, &Process::all(), &this),
            None => Vec::new(),
        };
    }
    match getsid(None) {
        Ok(session) if !pidfile::is_foreground(pidfile) => sessions.push(session),
        _ => {}
    }
    sessions
}

/// Sends the lock, and then the sockets, a message at a time: as many as one carries.
fn send_sockets(
    connection: &OwnedFd,
    lock: BorrowedFd<'_>,
    sockets: &[SocketCopy],
) -> io::Result<()> {
    let (first, rest) = sockets.split_at(sockets.len().min(MOST_DESCRIPTORS - 1));
    let mut fds = vec![lock];
    fds.extend(first.iter().map(|copy| copy.fd.as_fd()));
    send(connection, &write_sockets(sockets.len(), first), &fds)?;
    for part in rest.chunks(MOST_DESCRIPTORS) {
        if receive(connection, Some(PATIENCE))?.text != word::MORE {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let fds: Vec<_> = part.iter().map(|copy| copy.fd.as_fd()).collect();
        send(connection, &write_sockets(sockets.len(), part), &fds)?;
    }
    Ok(())
}

/// Waits until the restarter says that it has committed, and sends the pidfile, or, when the
/// restarter and the new instance are gone, the pidfile does. `None` if there is no commit.
fn await_commit(connection: &OwnedFd, pidfile: BorrowedFd<'_>) -> Option<Commit> {
    loop {
        let heard = receive(connection, None);
        let (ends, pidfile) = match heard {
            Ok(message) if message.text == word::COMMIT_AFTER_ME => {
                (When::AfterRestarter, message.fds)
            }
            Ok(message) if message.text == word::COMMIT => (When::Now, message.fds),
            _ if names_another(pidfile) => (When::Now, Vec::new()),
            Ok(_) => return None,
            // A failure says nothing of the restarter.
            Err(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        return Some(Commit { ends, pidfile });
    }
}

fn names_another(pidfile: BorrowedFd<'_>) -> bool {
    match pidfile::read_pid(pidfile) {
        Ok(Some(pid)) => pid != getpid(),
        Ok(None) | Err(_) => false,
    }
}
