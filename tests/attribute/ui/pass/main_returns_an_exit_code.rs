use std::io;
use std::process::ExitCode;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(code: u8) -> io::Result<ExitCode> {
    Ok(ExitCode::from(code))
}

fn init() -> io::Result<u8> {
    Ok(3)
}
