//! The output of a command: what it was called for.

use std::io::{self, ErrorKind, Write};

use crate::error::Error;

pub(crate) fn line(text: &str) -> Result<(), Error> {
    print(format!("{text}\n").as_bytes())
}

/// Prints it. A reader that has seen enough and is gone is not an error.
pub(super) fn print(output: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::control("", error).in_command("write to standard output"))
        }
        _ => Ok(()),
    }
}
