//! The example of the crate daemonize (`examples/complex.rs`, and its documentation) on this library,
//! with the `exit_action` that it had in version 0.4.
//! Its argument is the directory that stands for its `/tmp`.

use std::error::Error;
use std::path::PathBuf;

use daemon_rt::{Daemon, daemon, shutdown};

#[daemon(
    configure = configure,
    privileged_init = privileged_action,
    started = "Executed before master process exits",
    user = "nobody",
    group = 2,
    umask = 0o777
)]
fn main(privileged_action_result: &'static str) {
    println!("Success, daemonized");
    println!("{privileged_action_result}");
    shutdown().wait();
}

fn configure(daemon: &mut Daemon) -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("a directory, please")?);
    daemon.pidfile(directory.join("test.pid"));
    daemon.stdout(directory.join("daemon.out"));
    daemon.stderr(directory.join("daemon.err"));
    daemon.working_directory(directory);
    Ok(())
}

fn privileged_action() -> Result<&'static str, &'static str> {
    if nix::unistd::geteuid().is_root() {
        Ok("Executed before drop privileges")
    } else {
        Err("executed too late")
    }
}
