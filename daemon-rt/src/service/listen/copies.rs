//! Copies of the sockets on which the service listens, for a successor.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::passed::Origin;
use crate::error::Error;
use crate::report;
use crate::report::text::cut;

/// A longer name of a socket is cut.
const LONGEST_NAME: usize = 255;

static COPIES: Mutex<Copies> = Mutex::new(Copies::Off);

enum Copies {
    /// There is no hand-over: no control socket.
    Off,
    Kept(Vec<SocketCopy>),
    /// The service has opened a socket after it was ready: a successor could not take it in time.
    TooLate,
}

/// A copy of a socket on which the service listens.
#[derive(Clone)]
pub(crate) struct SocketCopy {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) fd: Arc<OwnedFd>,
}

fn copies() -> MutexGuard<'static, Copies> {
    COPIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to keep copies.
pub(crate) fn keep_copies() {
    *copies() = Copies::Kept(Vec::new());
}

/// Keeps a copy of a socket, if copies are kept.
pub(super) fn keep(name: &str, origin: Origin, socket: BorrowedFd<'_>) -> Result<(), Error> {
    let mut copies = copies();
    let Copies::Kept(kept) = &mut *copies else {
        return Ok(());
    };
    if !report::is_starting() {
        *copies = Copies::TooLate;
        return Ok(());
    }
    let copy = socket
        .try_clone_to_owned()
        .map_err(|error| Error::opening(format!("a copy of {name}"), error))?;
    let name = cut(name, LONGEST_NAME).into_owned();
    let fd = Arc::new(copy);
    kept.push(SocketCopy { name, origin, fd });
    Ok(())
}

/// Returns the copies for a successor. There are none if the service has opened its sockets itself,
/// and has to end before a successor can open them.
pub(crate) fn copies_for_successor() -> Vec<SocketCopy> {
    match &*copies() {
        Copies::Kept(kept) => kept.clone(),
        Copies::Off | Copies::TooLate => Vec::new(),
    }
}

/// Drops the copies: a successor has the sockets.
pub(crate) fn drop_copies() {
    *copies() = Copies::Off;
}
