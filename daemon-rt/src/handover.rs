//! The control socket of a running service, and the restart that loses no connection: the old instance hands its
//! sockets and its lock to the new one, which is ready before the old one stops accepting.
//!
//! R is the process that runs `restart`, O the old instance, N the new one.
//!
//! 1. R takes the restart lock, connects to O's control socket, and makes sure that it is O's.
//! 2. O sends the descriptor that holds the pidfile's lock, and its listeners. The lock now has two owners, and is
//!    never free.
//! 3. R forks N: the normal start, but for the lock. N's hooks get the listeners. N says READY, and accepts nothing.
//! 4. R commits, by one pwrite(2) of N's pid into the pidfile. That line alone decides who owns the service. Then it
//!    renames N's control socket into place.
//! 5. R tells O, which finishes its open requests and ends, and N, which goes on.
//!
//! With no word, because R is gone, N goes on if the pidfile names it, and tells O then; else it ends. O goes on unless
//! the pidfile names another.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt,
    recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::control::Instance;
use crate::inherited::retry;
use crate::sys;

mod restart;
mod service;

pub(crate) use restart::{await_go, clean_up, commit, is_restart, is_under_way, keep_daemons_end, prepare_restart};
pub(crate) use service::{answer_calls, bind_socket, is_passed_on, keep_listener, remove_socket};

/// What is asked for, and answered, over the control socket.
mod word {
    pub(super) const RELOAD: &[u8] = b"reload";
    pub(super) const RELOADED: &[u8] = b"reloaded";
    /// Followed by the reason.
    pub(super) const FAILED: &[u8] = b"failed: ";
    /// The service handles SIGHUP itself.
    pub(super) const SIGNAL: &[u8] = b"signal";
    pub(super) const CANNOT: &[u8] = b"cannot";
    pub(super) const HAND_OVER: &[u8] = b"hand over";
    pub(super) const COMMIT: &[u8] = b"commit";
}

const CONTROL: &str = ".control";
const NEW_CONTROL: &str = ".control.new";
/// As many as one message can carry.
const MOST_DESCRIPTORS: usize = 253;
/// How long the old instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// Has the service reload, and waits until it has; `false` if that takes a signal, and nobody says when it is done.
pub(crate) fn ask_to_reload(pidfile: &Path, instance: &Instance, patience: Duration) -> io::Result<bool> {
    let began = Instant::now();
    let connection = match call(pidfile, instance, patience)? {
        Call::Answered(connection, _) => connection,
        Call::NotYet => return Err(io::Error::other("it is not ready yet")),
        Call::Another => return Err(io::Error::other("its control socket is another process's")),
        Call::Nobody => return Ok(false),
    };
    send(&connection, word::RELOAD, &[])?;
    let left = patience.saturating_sub(began.elapsed());
    match receive(&connection, Some(left))?.0.as_slice() {
        word::RELOADED => Ok(true),
        answer if answer.starts_with(word::FAILED) => {
            let reason = String::from_utf8_lossy(&answer[word::FAILED.len()..]).into_owned();
            Err(io::Error::other(format!("it could not reload: {}", reason.replace(char::is_control, " "))))
        }
        word::SIGNAL => Ok(false),
        word::CANNOT => Err(io::Error::other("it does not reload: SIGHUP would end it")),
        _ => Err(io::Error::other("it has ended, or does not answer")),
    }
}

/// Who answers on the control socket.
enum Call {
    /// The instance, at this path.
    Answered(OwnedFd, PathBuf),
    /// The instance will, when it is ready.
    NotYet,
    /// Another process.
    Another,
    Nobody,
}

/// Calls the instance, also where its socket is after a restart that is not quite over.
fn call(pidfile: &Path, instance: &Instance, patience: Duration) -> io::Result<Call> {
    match call_at(beside(pidfile, CONTROL), instance, patience)? {
        answered @ Call::Answered(..) => Ok(answered),
        other => match call_at(beside(pidfile, NEW_CONTROL), instance, patience)? {
            answered @ Call::Answered(..) => Ok(answered),
            _ => Ok(other),
        },
    }
}

/// Connects to a control socket, and makes sure that it is the instance's.
fn call_at(path: PathBuf, instance: &Instance, patience: Duration) -> io::Result<Call> {
    let connection = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    // One that accepts nobody would keep the caller waiting for ever, which is also what no time at all would mean.
    let limit = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX).max(1);
    setsockopt(&connection, sockopt::SendTimeout, &TimeVal::milliseconds(limit))?;
    let address = UnixAddr::new(&path)?;
    match retry(|| connect(connection.as_raw_fd(), &address)) {
        Ok(()) => {}
        Err(Errno::EAGAIN) => return Err(no_answer()),
        Err(Errno::ECONNREFUSED) => return Ok(Call::NotYet),
        Err(Errno::ENOENT | Errno::EPROTOTYPE) => return Ok(Call::Nobody),
        Err(error) => return Err(error.into()),
    }
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok(if peer.pid() == instance.pid.as_raw() { Call::Answered(connection, path) } else { Call::Another })
}

/// Whether a service accepts nobody, or accepts and says nothing, is all the same to who waits.
fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has not answered in time")
}

fn send(connection: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    sendmsg::<()>(connection.as_raw_fd(), &[IoSlice::new(text)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message, with the descriptors that come with it; an empty one is the end.
fn receive(connection: &OwnedFd, patience: Option<Duration>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let timeout = patience.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
    if retry(|| poll(&mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)], timeout))? == 0 {
        return Err(no_answer());
    }
    let mut text = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(connection.as_raw_fd(), &mut buffers, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(passed) = control {
            fds.extend(passed.into_iter().map(sys::adopt).collect::<io::Result<Vec<_>>>()?);
        }
    }
    let length = message.bytes;
    text.truncate(length);
    Ok((text, fds))
}

fn beside(pidfile: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(pidfile);
    path.push(ending);
    path.into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
