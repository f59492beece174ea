//! The floor: what nobody can avoid who wants to be a daemon whose starter knows when it is ready.
//! A pipe, two forks, setsid(2), one byte; nothing else of daemon(7).
//!
//! With `--lookups` it also asks for a user and that user's groups first, as every program has to
//! that becomes one.

use std::error::Error;
use std::ffi::CString;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use daemon_bench::{USER, fork, leave, sleep};
use nix::unistd::{ForkResult, User, getgrouplist, setsid};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args_os().nth(1).is_some() {
        look_up()?;
    }
    let (reader, writer) = pipe()?;
    match fork()? {
        ForkResult::Parent { .. } => wait(reader, writer),
        ForkResult::Child => detach(writer),
    }
}

fn wait(mut reader: PipeReader, writer: PipeWriter) -> Result<(), Box<dyn Error>> {
    drop(writer);
    reader.read_exact(&mut [0])?;
    leave()
}

fn detach(mut writer: PipeWriter) -> Result<(), Box<dyn Error>> {
    setsid()?;
    if let ForkResult::Parent { .. } = fork()? {
        leave();
    }
    writer.write_all(b"1")?;
    sleep()
}

fn look_up() -> Result<(), Box<dyn Error>> {
    let user = User::from_name(USER)?.ok_or("there is no such user")?;
    getgrouplist(&CString::new(user.name)?, user.gid)?;
    Ok(())
}
