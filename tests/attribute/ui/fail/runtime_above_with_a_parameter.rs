use std::io;

use daemon_rt::daemon;

#[tokio::main(flavor = "current_thread")]
#[daemon(init = init)]
async fn main(state: u8) {
    let _ = state;
}

fn init() -> io::Result<u8> {
    Ok(1)
}
