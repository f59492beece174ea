//! The control socket of a running service, and the restart that loses no connection: the old
//! instance hands its sockets and its lock to the new one, which is ready before the old one stops
//! accepting.
//!
//! R is the process that runs `restart`, O the old instance, N the new one.
//!
//! 1. R takes the restart lock, connects to O's control socket, and makes sure that it is O's.
//! 2. O sends the descriptor that holds the pidfile's lock, and its sockets with their names, in as
//!    many messages as it takes: R asks for the next when it has one. The lock now has two owners,
//!    and is never free.
//! 3. R forks N: the normal start, but for the lock. N's hooks get the sockets, by their names. N
//!    says READY, and accepts nothing.
//! 4. R commits, by one pwrite(2) of N's pid into the pidfile. That line alone decides who owns the
//!    service. Then it renames N's control socket into place.
//! 5. R tells O, which finishes its open requests and ends, and N, which goes on. Sockets that N
//!    has not taken are shut down. R waits for the end of O, and kills it when the time is up; so
//!    does N, should R be gone.
//!
//! With no word, because R is gone, N goes on if the pidfile names it, and tells O then; else it
//! ends. O goes on unless the pidfile names another.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control::instance::Instance;
use crate::report::text::printable;
use crate::sys;

mod call;
mod ending;
mod lock;
mod message;
mod restart;
mod service;

use call::{Call, call};
use message::{left, receive, send};
pub(crate) use restart::{
    await_go, clean_up, commit, is_restart, is_under_way, keep_daemons_end, prepare_restart,
    see_off, verify,
};
pub(crate) use service::{answer_calls, bind_socket};

/// What is asked for, and answered, over the control socket.
mod word {
    pub(super) const RELOAD: &[u8] = b"reload";
    pub(super) const RELOADED: &[u8] = b"reloaded";
    /// Followed by the reason.
    pub(super) const FAILED: &[u8] = b"failed: ";
    /// The service handles SIGHUP itself.
    pub(super) const SIGNAL: &[u8] = b"signal";
    pub(super) const CANNOT: &[u8] = b"cannot";
    pub(super) const HAND_OVER: &[u8] = b"hand over the sockets";
    /// The next of them.
    pub(super) const MORE: &[u8] = b"more";
    pub(super) const COMMIT: &[u8] = b"commit";
    /// The same, but the restarter has to end first.
    pub(super) const COMMIT_AFTER_ME: &[u8] = b"commit after me";
}

/// How long the old instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// What comes of asking a service to reload.
pub(crate) enum Answer {
    Done,
    /// It takes a signal, and the service does not say when it has reloaded.
    TakesSignal,
}

/// Has the service reload, and waits until it has.
pub(crate) fn ask_to_reload(
    pidfile: &Path,
    instance: &Instance,
    patience: Duration,
) -> io::Result<Answer> {
    let began = Instant::now();
    let connection = match call(pidfile, instance, patience)? {
        Call::Answered(connection, _) => connection,
        Call::NotYet => return Err(io::Error::other("it is not ready yet")),
        Call::Another => return Err(io::Error::other("its control socket is another process's")),
        Call::Nobody => return Ok(Answer::TakesSignal),
    };
    let answer = send(&connection, word::RELOAD, &[])
        .and_then(|()| receive(&connection, Some(left(began, patience))));
    let (text, mut unasked) = match answer {
        Ok(message) => (Ok(message.text), message.fds),
        Err(error) => (Err(error), Vec::new()),
    };
    unasked.push(connection);
    sys::close_aside(unasked);
    match text?.as_slice() {
        word::RELOADED => Ok(Answer::Done),
        answer if answer.starts_with(word::FAILED) => {
            let reason = String::from_utf8_lossy(&answer[word::FAILED.len()..]);
            Err(io::Error::other(format!(
                "it could not reload: {}",
                printable(&reason)
            )))
        }
        word::SIGNAL => Ok(Answer::TakesSignal),
        word::CANNOT => Err(io::Error::other("it does not reload: SIGHUP would end it")),
        _ => Err(io::Error::other("it has ended, or does not answer")),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
