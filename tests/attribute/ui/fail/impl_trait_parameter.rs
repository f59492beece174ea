use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(state: impl Copy) {
    let _ = state;
}

fn init() -> io::Result<u8> {
    Ok(1)
}
