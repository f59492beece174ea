//! A service with all hooks.

use std::error::Error;

use daemon_rt::{Started, daemon, shutdown};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(configure = aborting::configure, privileged_init = privileged_init, init = init, started = started)]
fn main() -> Result<()> {
    aborting::act("main")?;
    shutdown().wait();
    Ok(())
}

fn privileged_init() -> Result<()> {
    aborting::act("privileged_init")
}

fn init() -> Result<()> {
    aborting::act("init")
}

fn started(_: &Started) {
    aborting::act("started").expect("a last word");
}
