//! This library with the pidfile in the argument: many can run at once.

use std::convert::Infallible;
use std::env;

use daemon_rt::{Daemon, daemon, shutdown};

#[daemon(umask = 0o022, configure = configure)]
fn main() {
    shutdown().wait();
}

fn configure(daemon: &mut Daemon) -> Result<(), Infallible> {
    daemon.pidfile(env::args().nth(1).expect("a pidfile"));
    Ok(())
}
