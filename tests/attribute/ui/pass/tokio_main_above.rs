use std::io;

use daemon_rt::daemon;

// Without a parameter this order works too.
#[tokio::main(flavor = "current_thread")]
#[daemon(init = init)]
async fn main() -> io::Result<()> {
    tokio::task::yield_now().await;
    Ok(())
}

fn init() -> io::Result<()> {
    Ok(())
}
