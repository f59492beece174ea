//! Stops the service that has the pidfile in the argument, by this library's `Control`.

use std::time::Duration;

use daemon_rt::control::Control;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pidfile = std::env::args_os().nth(1).ok_or("which pidfile?")?;
    Control::new(pidfile).stop(Duration::from_secs(5))?;
    Ok(())
}
