use std::io;

use daemon_rt::daemon;

#[daemon(init = init, defer_ready)]
fn main(ready: daemon_rt::Ready, state: u8) {
    let _ = state;
    ready.notify();
}

fn init() -> io::Result<u8> {
    Ok(1)
}
