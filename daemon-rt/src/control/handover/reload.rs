//! The request to reload.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;

use super::call::{Call, call};
use super::message::{left, receive, send};
use super::word;
use crate::control::instance::Instance;
use crate::report::text::printable;
use crate::sys::{self, proc};

/// The answer of a service.
pub(crate) enum Answer {
    /// It has reloaded.
    Done,
    /// It takes a signal, and does not say when it has reloaded.
    TakesSignal,
    NotReady,
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
        Call::NotYet => return Ok(Answer::NotReady),
        Call::Another => return Err(io::Error::other("its control socket is another process's")),
        Call::NoSocket if proc::would_end(instance.pid, libc::SIGHUP) => return Err(unable()),
        Call::NoSocket => return Ok(Answer::TakesSignal),
    };
    let answer = match send(&connection, word::RELOAD, &[]) {
        Ok(()) => receive(&connection, Some(left(began, patience))),
        Err(error) => Err(error),
    };
    let (text, mut unasked) = match answer {
        Ok(message) => (Ok(message.text), message.fds),
        Err(error) => (Err(error), Vec::new()),
    };
    unasked.push(connection);
    sys::close_aside(unasked);
    match text?.as_slice() {
        word::RELOADED => Ok(Answer::Done),
        word::SIGNAL => Ok(Answer::TakesSignal),
        word::CANNOT => Err(unable()),
        answer => match answer.strip_prefix(word::FAILED) {
            Some(reason) => {
                let reason = String::from_utf8_lossy(reason);
                let text = format!("it could not reload: {}", printable(&reason));
                Err(io::Error::other(text))
            }
            None => Err(io::Error::other("it has ended, or does not answer")),
        },
    }
}

fn unable() -> io::Error {
    io::Error::other("it does not reload: SIGHUP would end it")
}
