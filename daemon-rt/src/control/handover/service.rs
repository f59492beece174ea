//! The service's side: the control socket, and O's part in a restart.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, bind, getsockopt, listen, shutdown,
    socket, sockopt,
};
use nix::sys::stat::{FileStat, Mode, fstat, umask};
use nix::unistd::{Pid, geteuid, getpid};

use super::message::{MOST_DESCRIPTORS, write_sockets};
use super::restart::socket_path;
use super::{PATIENCE, PAUSE, receive, send, word};
use crate::error::{During, Error};
use crate::service::end::ends_by;
use crate::service::requests::note;
use crate::service::{listen, reload};
use crate::step::Step;
use crate::steps::pidfile::socket::{CONTROL, at_place, beside};
use crate::steps::pidfile::{self, SocketFile};
use crate::sys::kept::{is_still, lost};
use crate::sys::safe_open::{ReadyPath, SafePath};
use crate::sys::{self, retry};

static SOCKET: OnceLock<ControlSocket> = OnceLock::new();

/// Bound before privileges are dropped; it listens when the service is about to be ready.
struct ControlSocket {
    socket: UnixListener,
    /// To know the socket again: the service can close or replace any descriptor.
    itself: FileStat,
    path: PathBuf,
}

/// Binds the control socket beside the pidfile, which this process holds.
pub(crate) fn bind_socket(pidfile: &Path) -> Result<(), Error> {
    let path = socket_path(pidfile);
    let made = || -> io::Result<ControlSocket> {
        let place = SafePath::of(&path)?;
        // Whoever left it there does not hold the lock any more.
        if place.stat().is_ok() {
            place.remove()?;
        }
        let directory = place.directory()?;
        let socket = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        // Nothing may fail after the bind(2) that does not remove the file again.
        let (itself, later) = (fstat(&socket)?, beside(pidfile, CONTROL));
        let ready_path = ReadyPath::new(&later)?;
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = at_place(&place, &path, |address| bind(socket.as_raw_fd(), address));
        umask(before);
        bound??;
        let file = place.stat().inspect_err(|_| _ = place.remove())?;
        pidfile::set_socket(SocketFile::new(ready_path, directory, file));
        Ok(ControlSocket {
            socket: socket.into(),
            itself,
            path: later,
        })
    };
    let made = made().during(Step::WritePidfile, path.display())?;
    listen::keep_copies();
    _ = SOCKET.set(made);
    Ok(())
}

/// The service is about to be ready: from now on a thread answers on the control socket.
pub(crate) fn answer_calls() -> Result<(), Error> {
    let Some(control) = SOCKET.get() else {
        return Ok(());
    };
    let listening = || -> io::Result<()> {
        if !is_still(control.socket.as_fd(), &control.itself) {
            return Err(lost(control.socket.as_fd()));
        }
        Ok(listen(&control.socket, Backlog::new(8)?)?)
    };
    listening().during(Step::Notify, control.path.display())?;
    // One that is blocked waits for sigwait(3) or signalfd(2).
    let hangup_waits = SigSet::thread_get_mask()
        .during(Step::Notify, Signal::SIGHUP)?
        .contains(Signal::SIGHUP);
    spawn(move || answer_all(control, hangup_waits))
        .during(Step::Notify, "a thread for the control socket")
}

/// Runs this in a thread that takes none of the service's signals.
pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let deaf = || {
        _ = SigSet::all().thread_block();
        work();
    };
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(deaf)
        .map(drop)
}

fn answer_all(control: &'static ControlSocket, hangup_waits: bool) {
    // What the service has put in its place is the service's.
    while is_still(control.socket.as_fd(), &control.itself) {
        match control.socket.accept() {
            // Each in a thread of its own: a reload that takes long must not keep a restart
            // waiting. Whatever is wrong with one caller is nothing to the others, nor to the
            // service.
            Ok((caller, _)) => {
                _ = spawn(move || _ = answer(&Arc::new(caller.into()), hangup_waits));
            }
            // No descriptor is left, say: wait for one.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(connection: &Arc<OwnedFd>, hangup_waits: bool) -> io::Result<()> {
    let peer = getsockopt(connection, sockopt::PeerCredentials)?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Ok(());
    }
    match receive(connection, Some(PATIENCE))?.text.as_slice() {
        word::RELOAD if reload(connection)? => Ok(()),
        word::RELOAD if !hangup_waits && ends_by(libc::SIGHUP) => {
            send(connection, word::CANNOT, &[])
        }
        word::RELOAD => send(connection, word::SIGNAL, &[]),
        word::HAND_OVER => hand_over(connection, Pid::from_raw(peer.pid())),
        _ => Ok(()),
    }
}

/// Has the service reload, and waits until its caller has been answered or is gone; `false` if the
/// service takes no such requests.
fn reload(caller: &Arc<OwnedFd>) -> io::Result<bool> {
    let connection = Arc::clone(caller);
    let answer = move |result: Result<(), &str>| {
        let text = match result {
            Ok(()) => word::RELOADED.to_owned(),
            Err(reason) => [word::FAILED, reason.as_bytes()].concat(),
        };
        _ = send(&connection, &text, &[]);
        // Wakes the thread that waits below, whether or not the caller closes its end.
        _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
    };
    let Some(number) = reload::ask(Box::new(answer)) else {
        return Ok(false);
    };
    // A hang-up is seen without being asked for.
    let mut end = [PollFd::new(caller.as_fd(), PollFlags::empty())];
    let ended = retry(|| poll(&mut end, PollTimeout::NONE));
    reload::forget(number);
    ended?;
    Ok(true)
}

/// O's side of the restart. Whatever goes wrong, the pidfile says whether this process still owns
/// the service.
fn hand_over(connection: &OwnedFd, restarter: Pid) -> io::Result<()> {
    let restarter = sys::pidfd_open(restarter);
    let sockets = listen::copies_for_successor();
    let lock = match pidfile::lock_descriptor() {
        Some(lock) if !sockets.is_empty() => lock,
        _ => return send(connection, word::CANNOT, &[]),
    };
    pidfile::begin_hand_over();
    let committed = match send_sockets(connection, lock, &sockets) {
        Ok(()) => hears_commit(connection, lock),
        Err(_) => None,
    };
    drop(sockets);
    if let Some((_, mark)) = &committed {
        pidfile::disown();
        for mark in mark {
            pidfile::set_old(mark.as_fd());
        }
        listen::drop_copies();
    }
    pidfile::end_hand_over();
    let Some((commit, mark)) = committed else {
        return Ok(());
    };
    // Open for as long as this process lives: closed, it would say nothing any more.
    std::mem::forget(mark);
    // N is R's child until R has ended. A manager that sees this process end before would take N
    // for a stranger.
    if let (Commit::AfterRestarter, Ok(restarter)) = (commit, restarter) {
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        _ = retry(|| {
            poll(
                &mut [PollFd::new(restarter.as_fd(), PollFlags::POLLIN)],
                patience,
            )
        });
    }
    // As an administrator would: the service finishes what it has begun. A filter may forbid the
    // call, and a failure is worth another try: nobody else will.
    while kill(getpid(), Signal::SIGTERM).is_err() && !note(libc::SIGTERM) {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Sends the lock, and then the sockets, a message at a time: as many as one carries.
fn send_sockets(
    connection: &OwnedFd,
    lock: BorrowedFd<'_>,
    sockets: &[listen::SocketCopy],
) -> io::Result<()> {
    let (first, rest) = sockets.split_at(sockets.len().min(MOST_DESCRIPTORS - 1));
    let others = rest.chunks(MOST_DESCRIPTORS);
    for (number, part) in std::iter::once(first).chain(others).enumerate() {
        let mut fds = Vec::new();
        if number == 0 {
            fds.push(lock);
        } else if receive(connection, Some(PATIENCE))?.text != word::MORE {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        fds.extend(part.iter().map(|kept| kept.fd.as_fd()));
        let names = part.iter().map(|kept| (kept.origin, kept.name.as_str()));
        send(connection, &write_sockets(sockets.len(), names), &fds)?;
    }
    Ok(())
}

/// When this process is to end.
#[derive(Clone, Copy)]
enum Commit {
    Now,
    AfterRestarter,
}

/// Whether R says that it has committed, or the pidfile does when R is gone, and N with it. R adds
/// the pidfile, open.
fn hears_commit(connection: &OwnedFd, pidfile: BorrowedFd<'_>) -> Option<(Commit, Vec<OwnedFd>)> {
    let names_another =
        || pidfile::read_pid(pidfile).is_ok_and(|named| named.is_some_and(|pid| pid != getpid()));
    loop {
        let heard = receive(connection, None);
        match heard {
            Ok(message) if message.text == word::COMMIT_AFTER_ME => {
                return Some((Commit::AfterRestarter, message.fds));
            }
            Ok(message) if message.text == word::COMMIT => return Some((Commit::Now, message.fds)),
            _ if names_another() => return Some((Commit::Now, Vec::new())),
            Ok(_) => return None,
            // That says nothing of R.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
