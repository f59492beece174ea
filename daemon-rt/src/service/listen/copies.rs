//! Copies of the sockets on which the service listens, to hand them over one day.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::passed::Origin;
use crate::error::Error;
use crate::report;
use crate::report::text::cut;

/// A longer name of a socket is cut.
const LONGEST_NAME: usize = 255;

static COPIES: Mutex<Copies> = Mutex::new(Copies::None);

/// What is kept of the sockets.
enum Copies {
    /// Nothing: without a control socket there is no hand-over.
    None,
    Kept(Vec<Copy>),
    /// The service has opened sockets when it was ready, which a successor cannot take in time.
    TooLate,
}

/// A copy of a socket on which the service listens.
#[derive(Clone)]
pub(crate) struct Copy {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) fd: Arc<OwnedFd>,
}

fn copies() -> MutexGuard<'static, Copies> {
    COPIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on copies are kept.
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
    kept.push(Copy { name, origin, fd });
    Ok(())
}

/// The copies that a successor can be given; none where the service has made its sockets itself,
/// and has to end before another can make them.
pub(crate) fn copies_for_successor() -> Vec<Copy> {
    match &*copies() {
        Copies::Kept(kept) => kept.clone(),
        Copies::None | Copies::TooLate => Vec::new(),
    }
}

/// A successor has the sockets.
pub(crate) fn drop_copies() {
    *copies() = Copies::None;
}
