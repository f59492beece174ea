use std::io;

use daemon_rt::{Daemon, daemon};

#[daemon(configure = configure, privileged_init = bind, init = open)]
fn main() {}

fn configure(_: &mut Daemon) -> io::Result<()> {
    Ok(())
}

fn bind() -> io::Result<()> {
    Ok(())
}

// Taking nothing may be spelt out.
fn open((): ()) -> io::Result<()> {
    Ok(())
}
