use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(state: String) {
    drop(state);
}

fn init() -> io::Result<()> {
    Ok(())
}
