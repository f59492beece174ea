//! As "Checked Daemon Startup" in the README of fork; a pidfile and a change of user are left to
//! the caller.

use std::{error::Error, thread::park, time::Duration};

use fork::{CheckedDaemon, DaemonOptions, checked_daemon};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = DaemonOptions::new();
    options
        .current_directory("/")?
        .redirect_standard_io_to_null()?;

    match checked_daemon(options, Duration::from_secs(3))? {
        CheckedDaemon::Parent(process) => println!("daemon {} is ready", process.process()),
        CheckedDaemon::Daemon(notifier) => {
            notifier.notify_ready()?;
            loop {
                park();
            }
        }
    }
    Ok(())
}
