//! The new instance's part.

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;

use nix::unistd::read;

use super::message::{PAUSE, send};
use super::under_way::HandOver;
use super::word;
use crate::error::{During, Error};
use crate::step::Step;
use crate::steps::pidfile;
use crate::steps::pidfile::socket::{NEW_CONTROL, beside};
use crate::sys;
use crate::sys::kept::Kept;
use crate::sys::safe_open::ReadyPath;

/// The daemon's half of a restart.
pub(crate) struct New {
    pub(super) hand_over: Option<Box<HandOver<Kept>>>,
    /// Descriptors from an instance that could not hand over.
    pub(super) left_open: ManuallyDrop<Vec<OwnedFd>>,
}

impl New {
    /// Fails if the service has closed or replaced the descriptors by which it hears of the commit.
    pub(super) fn verify(&self) -> Result<(), Error> {
        if let Some(hand_over) = &self.hand_over {
            let (connection, go) = (&hand_over.connection, &hand_over.go);
            connection
                .get()
                .during(Step::Notify, "the connection to the old instance")?;
            go.get()
                .during(Step::Notify, "the pipe from the restarter")?;
        }
        Ok(())
    }

    /// Waits until the restarter has committed: from then on this process owns the service. `false`
    /// if the restarter has ended without.
    pub(crate) fn await_commit(self) -> bool {
        sys::close_aside(ManuallyDrop::into_inner(self.left_open));
        let Some(hand_over) = self.hand_over else {
            return true;
        };
        if !hears_go(&hand_over.go) {
            if !pidfile::names_this_process() {
                if let Ok(path) = ReadyPath::new(&beside(&hand_over.pidfile, NEW_CONTROL)) {
                    pidfile::remove_socket_at(&path);
                }
                return false;
            }
            if let Ok(old) = hand_over.connection.get() {
                _ = send(old, word::COMMIT, &[]);
            }
        }
        pidfile::own();
        hand_over.old.watch();
        true
    }
}

/// Waits until the restarter says that it has committed; `false` if it ends without.
fn hears_go(from_restarter: &Kept) -> bool {
    loop {
        let length = match from_restarter.get() {
            Ok(pipe) => read(pipe, &mut [0]).ok(),
            Err(_) => None,
        };
        match length {
            Some(length) => return length > 0,
            // A failure says nothing of the restarter, but the pidfile does.
            None if pidfile::names_this_process() => return false,
            None => std::thread::sleep(PAUSE),
        }
    }
}
