//! A service that says itself when it is ready.

use std::error::Error;

use daemon_rt::{Ready, daemon, shutdown};

#[daemon(configure = aborting::configure, defer_ready)]
fn main(ready: Ready) -> Result<(), Box<dyn Error>> {
    aborting::act("main")?;
    ready.notify();
    shutdown().wait();
    Ok(())
}
