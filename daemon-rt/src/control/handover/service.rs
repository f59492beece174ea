//! The control socket of a service: it is bound, and its callers are answered.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{
    self, AddressFamily, Backlog, Shutdown, SockFlag, SockType, bind, getsockopt, shutdown, socket,
    sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, geteuid};

use super::message::{PATIENCE, receive, send};
use super::new::New;
use super::{old, thread, word};
use crate::error::{During, Error};
use crate::report;
use crate::service::end::ends_by;
use crate::service::{listen, reload};
use crate::step::Step;
use crate::steps::pidfile::socket::{CONTROL, NEW_CONTROL, at_place, beside};
use crate::steps::pidfile::{self, SocketFile};
use crate::sys::kept::{is_still, lost};
use crate::sys::retry;
use crate::sys::safe_open::{ReadyPath, SafePath};
use crate::sys::stat::{FileStat, fstat};

/// A service can say in any thread, and anywhere, that it is ready.
static SOCKET: OnceLock<ControlSocket> = OnceLock::new();

/// Bound before privileges are dropped. It listens when the service is about to be ready.
struct ControlSocket {
    socket: UnixListener,
    /// Tells whether the descriptor is still this socket: the service can close or replace it.
    file: FileStat,
    path: PathBuf,
    /// The version of the program, if it has told it.
    version: String,
    /// The restart that this start is part of, until the service is ready.
    restart: Mutex<Option<New>>,
}

/// The state of SIGHUP when the service becomes ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hangup {
    /// It waits for sigwait(3) or signalfd(2).
    Blocked,
    Unblocked,
}

/// Binds the control socket beside the pidfile, which this process holds.
pub(crate) fn bind_socket(
    pidfile: &Path,
    restart: Option<New>,
    version: &str,
) -> Result<(), Error> {
    // In a restart the old instance's socket is still there.
    let path = match &restart {
        Some(restart) if restart.hand_over.is_some() => beside(pidfile, NEW_CONTROL),
        _ => beside(pidfile, CONTROL),
    };
    let later = beside(pidfile, CONTROL);
    let (socket, file) = bind_at(&path, &later).during(Step::WritePidfile, path.display())?;
    listen::keep_copies();
    _ = SOCKET.set(ControlSocket {
        socket: socket.into(),
        file,
        path: later,
        version: version.to_owned(),
        restart: Mutex::new(restart),
    });
    Ok(())
}

/// Binds a socket at `path`, and has it removed with the pidfile, when it is at `later`.
fn bind_at(path: &Path, later: &Path) -> io::Result<(OwnedFd, FileStat)> {
    let place = SafePath::of(path)?;
    // The process that left it there no longer holds the pidfile.
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
    // After the bind(2), whatever fails has to remove the file again.
    let (itself, later) = (fstat(&socket)?, ReadyPath::new(later)?);
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = at_place(&place, path, |address| bind(socket.as_raw_fd(), address));
    umask(before);
    bound??;
    let file = place.stat().inspect_err(|_| _ = place.remove())?;
    pidfile::set_socket(SocketFile::new(later, directory, file));
    Ok((socket, itself))
}

/// The service is about to be ready: from now on a thread answers on the control socket. Returns
/// the restart that is to be committed.
pub(crate) fn answer_calls() -> Result<Option<New>, Error> {
    let Some(control) = SOCKET.get() else {
        return Ok(None);
    };
    let restart = control
        .restart
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(restart) = &restart {
        restart.verify()?;
    }
    control
        .listen()
        .during(Step::Notify, control.path.display())?;
    let blocked = SigSet::thread_get_mask().during(Step::Notify, Signal::SIGHUP)?;
    let hangup = if blocked.contains(Signal::SIGHUP) {
        Hangup::Blocked
    } else {
        Hangup::Unblocked
    };
    thread::spawn(move || control.answer_all(hangup))
        .during(Step::Notify, "a thread for the control socket")?;
    Ok(restart)
}

impl ControlSocket {
    fn listen(&self) -> io::Result<()> {
        if self.is_there() {
            Ok(socket::listen(&self.socket, Backlog::new(8)?)?)
        } else {
            Err(lost(self.socket.as_fd()))
        }
    }

    /// Checks whether the service has left the descriptor alone.
    fn is_there(&self) -> bool {
        is_still(self.socket.as_fd(), &self.file)
    }

    fn answer_all(&'static self, hangup: Hangup) {
        while self.is_there() {
            match self.socket.accept() {
                // Each in a thread of its own: a reload that takes long must not keep a restart
                // waiting. A caller that misbehaves affects neither the others nor the service.
                Ok((caller, _)) => {
                    _ = thread::spawn(move || _ = self.answer(&Arc::new(caller.into()), hangup));
                }
                // There is no descriptor left, for example: wait for one.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn answer(&self, connection: &Arc<OwnedFd>, hangup: Hangup) -> io::Result<()> {
        let peer = getsockopt(connection, sockopt::PeerCredentials)?;
        if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
            return Ok(());
        }
        match receive(connection, Some(PATIENCE))?.text.as_slice() {
            word::RELOAD if reload(connection)? => Ok(()),
            word::RELOAD if hangup == Hangup::Unblocked && ends_by(libc::SIGHUP) => {
                send(connection, word::CANNOT, &[])
            }
            word::RELOAD => send(connection, word::SIGNAL, &[]),
            word::DESCRIBE => {
                let text = format!("{}\0{}", self.version, report::last_status());
                send(connection, text.as_bytes(), &[])
            }
            word::HAND_OVER => old::hand_over(connection, Pid::from_raw(peer.pid())),
            word::HAND_OVER_AND_LIVE => old::hand_over_and_live(connection),
            _ => Ok(()),
        }
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
    // poll(2) reports a hang-up in any case.
    let mut end = [PollFd::new(caller.as_fd(), PollFlags::empty())];
    let ended = retry(|| poll(&mut end, PollTimeout::NONE));
    reload::forget(number);
    ended?;
    Ok(true)
}
