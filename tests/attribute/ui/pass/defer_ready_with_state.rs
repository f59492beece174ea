use std::io;

use daemon_rt::{Ready, daemon};

#[daemon(defer_ready, init = init)]
fn main(state: (u8, u16), ready: Ready) -> io::Result<()> {
    ready.notify();
    let _ = state;
    Ok(())
}

fn init() -> io::Result<(u8, u16)> {
    Ok((1, 2))
}
