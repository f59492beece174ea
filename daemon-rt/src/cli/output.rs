//! The output of a command: what it was called for.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Write};
use std::process;

use crate::error::Error;

pub(crate) fn line(text: &str) -> Result<(), Error> {
    print(format!("{text}\n").as_bytes())
}

/// Prints it. A reader that has seen enough and is gone is not an error.
pub(super) fn print(output: &[u8]) -> Result<(), Error> {
    written(io::stdout().write_all(output))
}

/// Prints what clap has to say, in colour on a terminal, and ends the process.
pub(super) fn exit(error: &clap::Error) -> Result<Infallible, Error> {
    let printed = error.print();
    if !error.use_stderr() {
        written(printed)?;
    }
    process::exit(error.exit_code());
}

fn written(result: io::Result<()>) -> Result<(), Error> {
    match result.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::control("", error).in_command("write to standard output"))
        }
        _ => Ok(()),
    }
}
