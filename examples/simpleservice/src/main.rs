//! The classical first service: says hello once a second to its log, until it is told to stop.

use std::time::Duration;

#[cfg(unix)]
use daemon_rt::places;
use daemon_rt::{Daemon, Error, daemon, shutdown};
#[cfg(unix)]
use nix::unistd::geteuid;

// Under a umask of 0, daemon(7)'s own, everyone could write what a service in Rust creates: std
// asks for mode 0666.
#[daemon(name = "simpleservice", pidfile, stdout, stderr, configure = configure, umask = 0o022,
         started = "It runs as process {pid}.")]
fn main() {
    println!("hello");
    while !shutdown().wait_timeout(Duration::from_secs(1)) {
        println!("hello");
    }
    println!("good-bye");
}

/// Runs before anything else, on the terminal of whoever starts the service.
#[cfg(unix)]
fn configure(daemon: &mut Daemon) -> Result<(), Error> {
    let places = places("simpleservice");
    println!("To see it work: tail -f {}", places.log()?.display());
    println!(
        "To stop it:     kill $(cat {})",
        places.pidfile()?.display()
    );
    if geteuid().is_root() {
        daemon.user("nobody");
    }
    Ok(())
}

/// Where the system is not Unix it stays on that terminal.
#[cfg(not(unix))]
fn configure(daemon: &mut Daemon) -> Result<(), Error> {
    daemon.no_pidfile();
    println!("To stop it: Ctrl-C");
    Ok(())
}
