//! A daemon in which the checker finds nothing wrong, for its tests. Its settings are variables:
//! `GOOD_PIDFILE` and `GOOD_USER`.

use std::convert::Infallible;
use std::env;

use daemon_rt::{Daemon, daemon};

#[daemon(cli, configure = configure)]
fn main() {
    daemon_rt::shutdown().wait();
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> Result<(), Infallible> {
    if let Ok(path) = env::var("GOOD_PIDFILE") {
        daemon.pidfile(path);
    }
    if let Ok(user) = env::var("GOOD_USER") {
        daemon.user(user);
    }
    Ok(())
}
