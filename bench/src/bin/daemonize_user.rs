//! The crate daemonize with a pidfile and a user. It asks for no groups, and so the daemon keeps
//! root's.

use daemonize::{Daemonize, Error};

fn main() -> Result<(), Error> {
    Daemonize::new()
        .pid_file("/run/daemon-bench/daemonize_user.pid")
        .user("nobody")
        .start()?;
    daemon_bench::sleep()
}
