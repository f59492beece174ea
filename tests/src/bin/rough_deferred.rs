//! A service that says itself when it is ready, and whose main loop fails with an `anyhow::Error`.
//! Its arguments are settings (`pidfile=/x`) and what `main` does, one after the other.

use anyhow::{Context, Result};
use daemon_harness::rough;
use daemon_rt::{Daemon, Ready, daemon};
use daemon_tests::set;

#[daemon(configure = configure, defer_ready)]
fn main(actions: Vec<String>, ready: Ready) -> Result<()> {
    let mut ready = Some(ready);
    for action in actions {
        let (action, value) = action.split_once('=').unwrap_or((&action, ""));
        match action {
            "notify" => ready.take().context("it is ready")?.notify(),
            "close_all" => rough::close_range(value.parse()?, i32::MAX)?,
            "long" => return Err(anyhow::anyhow!("long ".repeat(2000))),
            "cat" => _ = std::fs::read(value)?,
            "hang" => loop {
                std::thread::park();
            },
            "err" => {
                let error: Result<()> =
                    Err(std::io::Error::from_raw_os_error(libc::EADDRINUSE).into());
                return error.context("cannot listen").context("cannot serve");
            }
            _ => anyhow::bail!("unknown action {action}"),
        }
    }
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut actions = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) if set(daemon, key, value)? => {}
            _ => actions.push(argument),
        }
    }
    Ok(actions)
}
