use std::io;

use rt::daemon;

#[daemon(crate = rt, init = init, mode = "foreground", pidfile)]
fn main(state: u8) {
    let _ = state;
}

fn init() -> io::Result<u8> {
    Ok(1)
}
