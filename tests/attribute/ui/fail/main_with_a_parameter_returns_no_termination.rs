use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(state: u8) -> Vec<u8> {
    vec![state]
}

fn init() -> io::Result<u8> {
    Ok(1)
}
