use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(state: u8, more: u8) {
    let _ = (state, more);
}

fn init() -> io::Result<u8> {
    Ok(1)
}
