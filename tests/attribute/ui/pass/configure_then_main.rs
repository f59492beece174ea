use std::convert::Infallible;

use daemon_rt::{Daemon, daemon};

#[daemon(configure = configure)]
fn main(name: String) {
    drop(name);
}

fn configure(_: &mut Daemon) -> Result<String, Infallible> {
    Ok("greeter".to_owned())
}
