//! The floor: what nobody can avoid who wants to be a daemon whose starter knows when it is ready.
//! A pipe, two forks, setsid(2), one byte; nothing else of daemon(7).
//!
//! With `--lookups` it also asks for a user and that user's groups first, as every program has to
//! that becomes one. With `--pidfile` it creates and locks a file before the forks, and writes its pid to it.

use std::env::args_os;
use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::fs::OpenOptionsExt;
use std::process;

use daemon_bench::{PLACE, USER, fork, leave, sleep};
use nix::unistd::{ForkResult, User, getgrouplist, setsid};

fn main() -> Result<(), Box<dyn Error>> {
    let is_given = |argument: &str| args_os().any(|given| given == argument);
    if is_given("--lookups") {
        look_up()?;
    }
    let pidfile = if is_given("--pidfile") {
        Some(create()?)
    } else {
        None
    };
    let (reader, writer) = pipe()?;
    match fork()? {
        ForkResult::Parent { .. } => wait(reader, writer),
        ForkResult::Child => detach(writer, pidfile),
    }
}

fn wait(mut reader: PipeReader, writer: PipeWriter) -> Result<(), Box<dyn Error>> {
    drop(writer);
    reader.read_exact(&mut [0])?;
    leave()
}

fn detach(mut writer: PipeWriter, mut pidfile: Option<File>) -> Result<(), Box<dyn Error>> {
    setsid()?;
    if let ForkResult::Parent { .. } = fork()? {
        leave();
    }
    if let Some(pidfile) = &mut pidfile {
        pidfile.write_all(format!("{}\n", process::id()).as_bytes())?;
    }
    writer.write_all(b"1")?;
    sleep()
}

fn look_up() -> Result<(), Box<dyn Error>> {
    let user = User::from_name(USER)?.ok_or("there is no such user")?;
    getgrouplist(&CString::new(user.name)?, user.gid)?;
    Ok(())
}

fn create() -> Result<File, Box<dyn Error>> {
    let mut options = File::options();
    options.read(true).write(true).create(true).mode(0o600);
    let file = options.open(format!("{PLACE}/floor.pid"))?;
    file.try_lock()?;
    Ok(file)
}
