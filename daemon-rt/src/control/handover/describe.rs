//! The request for what the service says of itself.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::call::{Call, call};
use super::message::{receive, send};
use super::word;
use crate::control::instance::Instance;
use crate::sys::{self, proc};

/// Time limit for the answer: the state of the service is worth telling without it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a service says of itself.
#[derive(Default)]
pub(crate) struct Description {
    /// The version of its program.
    pub(crate) version: Option<String>,
    /// The last text of `status`.
    pub(crate) status: Option<String>,
}

/// Asks the service what it says of itself.
pub(crate) fn ask_to_describe(pidfile: &Path, instance: &Instance) -> io::Result<Description> {
    if proc::is_suspended(instance.pid) {
        return Ok(Description::default());
    }
    let Call::Answered(connection, _) = call(pidfile, instance, PATIENCE)? else {
        return Ok(Description::default());
    };
    send(&connection, word::DESCRIBE, &[])?;
    let answer = receive(&connection, Some(PATIENCE))?;
    let mut unasked = answer.fds;
    unasked.push(connection);
    sys::close_aside(unasked);
    // One of an older version of this library closes the connection.
    let text = String::from_utf8_lossy(&answer.text);
    let Some((version, status)) = text.split_once('\0') else {
        return Ok(Description::default());
    };
    Ok(Description {
        version: given(version),
        status: given(status),
    })
}

/// Returns the text, if there is one, in one line: the service may be hostile.
fn given(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let in_line = |c: char| if c.is_control() { ' ' } else { c };
    Some(text.chars().map(in_line).collect())
}
