//! The service's side: the control socket, and O's part in a restart.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
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

use super::call::at_place;
use super::message::{MOST_DESCRIPTORS, write_sockets};
use super::restart::socket_path;
use super::{CONTROL, PATIENCE, PAUSE, beside, locked, receive, send, word};
use crate::error::{During, Error};
use crate::report::{self, pipe};
use crate::service::end::ends_by;
use crate::service::listen::Origin;
use crate::service::reload;
use crate::service::requests::note;
use crate::step::Step;
use crate::steps::pidfile;
use crate::sys::kept::{is_still, lost};
use crate::sys::safe_open::{ReadyPath, SafePath, remove_known};
use crate::sys::{self, retry};

/// A longer name of a socket is cut.
const LONGEST_NAME: usize = 255;

static SOCKET: OnceLock<ControlSocket> = OnceLock::new();

/// Bound before privileges are dropped; it listens when the service is about to be ready.
struct ControlSocket {
    socket: UnixListener,
    /// To know the socket again: the service can close or replace any descriptor.
    itself: FileStat,
    path: ReadyPath,
    file: FileStat,
    directory: FileStat,
    /// Copies of what the service listens on.
    sockets: Mutex<Vec<Kept>>,
    /// Begins to listen; a pointer for the reason that `Daemon` gives.
    answer: fn(&'static ControlSocket) -> Result<(), Error>,
}

/// A copy of a socket on which the service listens.
#[derive(Clone)]
struct Kept {
    name: String,
    origin: Origin,
    fd: Arc<OwnedFd>,
}

/// How many hand-overs are under way of which it is not known yet what has come of them.
static HANDING_OVER: AtomicUsize = AtomicUsize::new(0);
/// The service has opened sockets when it was ready, which a successor cannot take in time.
static OPENS_LATE: AtomicBool = AtomicBool::new(false);

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
        let (itself, later) = (fstat(&socket)?, ReadyPath::new(&beside(pidfile, CONTROL))?);
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = at_place(&place, &path, |address| bind(socket.as_raw_fd(), address));
        umask(before);
        bound??;
        let file = place.stat().inspect_err(|_| _ = place.remove())?;
        let (socket, sockets, answer) = (socket.into(), Mutex::default(), begin_to_answer);
        Ok(ControlSocket {
            socket,
            itself,
            path: later,
            file,
            directory,
            sockets,
            answer,
        })
    };
    let made = made().during(Step::WritePidfile, path.display())?;
    _ = SOCKET.set(made);
    Ok(())
}

/// Whether the pidfile is, or is about to be, another instance's: a restart is under way, or is
/// over and this process has not heard of it yet. Only what signal-safety(7) allows is called here.
pub(crate) fn is_passed_on(lock: BorrowedFd<'_>) -> bool {
    SOCKET.get().is_some() && (pidfile::is_restarting(lock) || !pidfile::names_this_process())
}

/// Removes the control socket, if it is this process's. Only what signal-safety(7) allows is called
/// here.
pub(crate) fn remove_socket() {
    if let Some(control) = SOCKET.get() {
        remove_socket_at(&control.path);
    }
}

pub(super) fn remove_socket_at(path: &ReadyPath) {
    if let Some(control) = SOCKET.get() {
        remove_known(path, &control.directory, &control.file);
    }
}

/// Whether a successor has taken the service over, or is about to: it has been given the sockets.
pub(crate) fn is_replaced() -> bool {
    let named =
        |lock| pidfile::read_pid(lock).is_ok_and(|named| named.is_some_and(|pid| pid != getpid()));
    HANDING_OVER.load(Ordering::Acquire) > 0
        || pidfile::is_disowned()
        || (SOCKET.get().is_some() && pidfile::lock_descriptor().is_some_and(named))
}

/// Keeps a copy of a socket on which the service listens, to hand it over one day.
pub(crate) fn keep_listener(
    name: &str,
    origin: Origin,
    socket: BorrowedFd<'_>,
) -> Result<(), Error> {
    let Some(control) = SOCKET.get() else {
        return Ok(());
    };
    if !report::is_starting() {
        OPENS_LATE.store(true, Ordering::Release);
        return Ok(());
    }
    let copy = socket
        .try_clone_to_owned()
        .map_err(|error| Error::opening(format!("a copy of {name}"), error))?;
    let name = pipe::cut(name, LONGEST_NAME).into_owned();
    locked(&control.sockets).push(Kept {
        name,
        origin,
        fd: Arc::new(copy),
    });
    Ok(())
}

/// The service is about to be ready: from now on a thread answers on the control socket.
pub(crate) fn answer_calls() -> Result<(), Error> {
    let Some(control) = SOCKET.get() else {
        return Ok(());
    };
    (control.answer)(control)
}

fn begin_to_answer(control: &'static ControlSocket) -> Result<(), Error> {
    let listening = || -> io::Result<()> {
        if !is_still(control.socket.as_fd(), &control.itself) {
            return Err(lost(control.socket.as_fd()));
        }
        Ok(listen(&control.socket, Backlog::new(8)?)?)
    };
    listening().during(Step::Notify, control.path.as_path().display())?;
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
                _ = spawn(move || _ = answer(control, &Arc::new(caller.into()), hangup_waits));
            }
            // No descriptor is left, say: wait for one.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(
    control: &ControlSocket,
    connection: &Arc<OwnedFd>,
    hangup_waits: bool,
) -> io::Result<()> {
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
        word::HAND_OVER => hand_over(control, connection, Pid::from_raw(peer.pid())),
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
fn hand_over(control: &ControlSocket, connection: &OwnedFd, restarter: Pid) -> io::Result<()> {
    let restarter = sys::pidfd_open(restarter);
    let sockets = locked(&control.sockets).clone();
    // A service that has made its sockets itself has to end before another can make them.
    let can = !sockets.is_empty() && !OPENS_LATE.load(Ordering::Acquire);
    let Some(lock) = pidfile::lock_descriptor().filter(|_| can) else {
        return send(connection, word::CANNOT, &[]);
    };
    HANDING_OVER.fetch_add(1, Ordering::AcqRel);
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
        locked(&control.sockets).clear();
    }
    HANDING_OVER.fetch_sub(1, Ordering::AcqRel);
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
fn send_sockets(connection: &OwnedFd, lock: BorrowedFd<'_>, sockets: &[Kept]) -> io::Result<()> {
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
