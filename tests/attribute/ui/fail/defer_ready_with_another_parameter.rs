use std::io;

use daemon_rt::daemon;

#[daemon(init = init, defer_ready)]
fn main(state: u8) {
    let _ = state;
}

fn init() -> io::Result<u8> {
    Ok(1)
}
