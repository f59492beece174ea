//! The classical first service: says hello once a second to its log, until it is told to stop.

use std::io;
use std::time::Duration;

use daemon_rt::{Daemon, daemon, shutdown};
#[cfg(unix)]
use nix::unistd::geteuid;
#[cfg(unix)]
use places::Places;

// Under a umask of 0, daemon(7)'s own, everyone could write what a service in Rust creates: std
// asks for mode 0666.
#[daemon(configure = configure, umask = 0o022)]
fn main() {
    println!("hello");
    while !shutdown().wait_timeout(Duration::from_secs(1)) {
        println!("hello");
    }
    println!("good-bye");
}

/// Runs before anything else, on the terminal of whoever starts the service.
#[cfg(unix)]
fn configure(daemon: &mut Daemon) -> io::Result<()> {
    let Places { pidfile, log } = Places::of("simpleservice")?;
    println!("To see it work: tail -f {}", log.display());
    println!("To stop it:     kill $(cat {})", pidfile.display());
    daemon.pidfile(pidfile).stdout(&log).stderr(log);
    if geteuid().is_root() {
        daemon.user("nobody");
    }
    Ok(())
}

/// Where the system is not Unix it stays on that terminal.
#[cfg(not(unix))]
fn configure(_: &mut Daemon) -> io::Result<()> {
    println!("To stop it: Ctrl-C");
    Ok(())
}
