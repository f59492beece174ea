use std::error::Error;

use daemon_rt::{Daemon, daemon};

#[daemon(configure = configure)]
fn main(port: u16) -> Result<(), Box<dyn Error>> {
    Err(port.to_string().into())
}

fn configure(_: &mut Daemon) -> Result<u16, Box<dyn Error + Send + Sync>> {
    Ok("80".parse()?)
}
