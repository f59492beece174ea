//! The crate fork, `checked_daemon`, as its documentation has it.

use std::time::Duration;

use fork::{CheckedDaemon, DaemonOptions, checked_daemon};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = DaemonOptions::new();
    options
        .current_directory("/")?
        .redirect_standard_io_to_null()?;

    match checked_daemon(options, Duration::from_secs(3))? {
        CheckedDaemon::Parent(_) => Ok(()),
        CheckedDaemon::Daemon(notifier) => {
            notifier.notify_ready()?;
            daemon_bench::sleep()
        }
    }
}
