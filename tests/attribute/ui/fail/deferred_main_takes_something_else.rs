use std::io;

use daemon_rt::daemon;

#[daemon(init = init, defer_ready)]
fn main(state: String, ready: daemon_rt::Ready) {
    drop(state);
    ready.notify();
}

fn init() -> io::Result<u8> {
    Ok(1)
}
