//! The restarter takes over lock and sockets of the instance that runs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{Pid, pipe2};

use super::call::{Call, call};
use super::ending::Old;
use super::message::{PATIENCE, left, read_sockets, receive, send};
use super::under_way::{First, Go, HandOver};
use super::word;
use crate::manager::activation::PassedFd;
use crate::service::listen::{self, Origin};
use crate::steps::pidfile;
use crate::steps::pidfile::socket::{CONTROL, beside};
use crate::sys::kept::Kept;
use crate::sys::safe_open::{SafePath, same_file};
use crate::sys::stat::fstat;
use crate::sys::{self, proc};

/// Time limit for the end of an instance that has just failed to answer.
const ENDING: Duration = Duration::from_millis(100);
/// No service has more sockets.
const MOST_SOCKETS: usize = 1 << 16;

/// Outcome of the attempt.
pub(super) enum TakeOver {
    Done(Box<HandOver<Go>>),
    /// The instance has no control socket, or is suspended, or hangs. These descriptors came from
    /// it.
    Impossible(Vec<OwnedFd>),
}

/// Takes the lock and the sockets over. `pidfile` is the file at `path`.
pub(super) fn take_over(path: &Path, old: Old, pidfile: &File) -> io::Result<TakeOver> {
    // A suspended process answers only when it is told to continue.
    if proc::is_suspended(old.instance.pid) || !old.instance.has_pidfd() {
        return Ok(TakeOver::Impossible(Vec::new()));
    }
    let (connection, found) = match call(path, &old.instance, PATIENCE) {
        Ok(Call::Answered(connection, found)) => (connection, found),
        Ok(_) => return Ok(TakeOver::Impossible(Vec::new())),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            return Ok(TakeOver::Impossible(Vec::new()));
        }
        Err(error) => return Err(error),
    };
    // The last restarter may have been killed before it could rename the socket.
    SafePath::of(&beside(path, CONTROL))?.rename_from(found.file_name().unwrap_or_default())?;
    let mut received = Vec::new();
    let request = match old.patience {
        Some(_) => word::HAND_OVER,
        None => word::HAND_OVER_AND_LIVE,
    };
    match ask_for_sockets(&connection, request, &mut received) {
        Ok(Some(sockets)) => {
            check_lock(&received[0], pidfile)?;
            let go = accept(path, sockets, received)?;
            Ok(TakeOver::Done(Box::new(HandOver {
                pidfile: path.to_owned(),
                connection: Kept::new(connection)?,
                first_to_end: first_to_end(old.instance.pid),
                old,
                go,
            })))
        }
        Ok(None) => leave(connection, received, pidfile).map(TakeOver::Impossible),
        Err(error) => {
            let left_open = leave(connection, received, pidfile)?;
            // It hangs, or has just died and has nothing left to hand over.
            if error.kind() == io::ErrorKind::TimedOut || old.instance.ends_within(ENDING)? {
                return Ok(TakeOver::Impossible(left_open));
            }
            sys::close_aside(left_open);
            Err(error)
        }
    }
}

/// Keeps the lock, which is the first descriptor, and the sockets for the hooks.
fn accept(
    path: &Path,
    sockets: Vec<(Origin, String)>,
    mut received: Vec<OwnedFd>,
) -> io::Result<Go> {
    let lock = received.remove(0);
    let mut passed = Vec::new();
    for ((origin, name), fd) in std::iter::zip(sockets, received) {
        sys::disarm(&fd);
        passed.push((origin, PassedFd { name, fd }));
    }
    listen::pass(passed);
    pidfile::take_over(path, lock)?;
    let (news, restarters) = pipe2(OFlag::O_CLOEXEC)?;
    Ok(Go {
        restarters: restarters.into(),
        news: Kept::new(news)?,
    })
}

/// Ends the conversation with an instance that cannot hand over. Returns the descriptors that came
/// from it, and the connection.
fn leave(
    connection: OwnedFd,
    mut received: Vec<OwnedFd>,
    pidfile: &File,
) -> io::Result<Vec<OwnedFd>> {
    // One that hangs may still answer while it is stopped.
    _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
    while let Ok(message) = receive(&connection, Some(Duration::ZERO)) {
        if message.text.is_empty() && message.fds.is_empty() {
            break;
        }
        received.extend(message.fds);
    }
    // A copy of the lock would keep the new instance from starting.
    let pidfile = fstat(pidfile)?;
    received.retain(|fd| match fstat(fd) {
        Ok(found) => !same_file(&found, &pidfile),
        Err(_) => true,
    });
    received.push(connection);
    Ok(received)
}

/// Makes sure that the descriptor holds the lock of the pidfile.
fn check_lock(lock: &OwnedFd, pidfile: &File) -> io::Result<()> {
    if !same_file(&fstat(lock)?, &fstat(pidfile)?) {
        return Err(io::Error::other(
            "the running instance has another pidfile locked",
        ));
    }
    // A copy of the descriptor that holds the lock can take it once more; any other is refused.
    if sys::try_lock(lock.as_fd()) == Err(Errno::EWOULDBLOCK) {
        return Err(io::Error::other(
            "the running instance has not handed over the lock",
        ));
    }
    Ok(())
}

/// The restarter has to end first where a manager runs it for the old instance, its main process,
/// as systemd does `ExecReload=`. When the old instance ends, the manager takes the process that
/// the pidfile names for the new main process, but not if it is a child of this command.
fn first_to_end(main: Pid) -> First {
    match std::env::var("MAINPID") {
        Ok(pid) if pid == main.to_string() => First::Restarter,
        _ => First::Old,
    }
}

/// Has the old instance send the descriptor that holds the lock, and then its sockets. Returns the
/// sockets' names; `None` if it cannot hand over.
fn ask_for_sockets(
    connection: &OwnedFd,
    request: &[u8],
    received: &mut Vec<OwnedFd>,
) -> io::Result<Option<Vec<(Origin, String)>>> {
    let began = Instant::now();
    let mut sockets = Vec::new();
    let mut ask = request;
    loop {
        send(connection, ask, &[])?;
        let message = receive(connection, Some(left(began, PATIENCE)))?;
        let before = received.len();
        received.extend(message.fds);
        // An instance of another version does not know the word, and says nothing.
        if ask == request && (message.text.is_empty() || message.text == word::CANNOT) {
            return Ok(None);
        }
        let (total, here) = match read_sockets(&message.text) {
            Some((total, here)) if total <= MOST_SOCKETS => (total, here),
            _ => return Err(not_the_protocol()),
        };
        let due = here.len() + usize::from(ask == request);
        sockets.extend(here);
        if received.len() < before + due {
            return Err(too_few_descriptors(total));
        }
        if received.len() > before + due
            || (due == 0 && sockets.len() < total)
            || sockets.len() > total
        {
            return Err(not_the_protocol());
        }
        if sockets.len() == total {
            return Ok(Some(sockets));
        }
        ask = word::MORE;
    }
}

fn not_the_protocol() -> io::Error {
    io::Error::other("the running instance does not speak the protocol")
}

fn too_few_descriptors(sockets: usize) -> io::Error {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => format!(" ({soft})"),
        Err(_) => String::new(),
    };
    io::Error::other(format!(
        "the limit on open files{limit} is too low for the {sockets} sockets of the running instance"
    ))
}
