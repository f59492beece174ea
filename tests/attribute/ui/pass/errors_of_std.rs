use std::error::Error;
use std::fmt;

use daemon_rt::{Daemon, daemon};

#[derive(Debug)]
struct Fault;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault")
    }
}

impl Error for Fault {}

#[daemon(configure = configure, privileged_init = bind, init = open)]
fn main() {}

fn configure(_: &mut Daemon) -> Result<(), Fault> {
    Err(Fault)
}

fn bind() -> Result<(), Box<dyn Error>> {
    Err(Box::new(Fault))
}

fn open() -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(Box::new(Fault))
}
