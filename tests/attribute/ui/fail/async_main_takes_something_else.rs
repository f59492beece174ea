use std::io;

use daemon_rt::daemon;

#[daemon(init = init)]
#[tokio::main(flavor = "current_thread")]
async fn main(state: String) {
    drop(state);
}

fn init() -> io::Result<u8> {
    Ok(1)
}
