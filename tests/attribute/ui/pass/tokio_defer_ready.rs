use std::io;

use daemon_rt::{Ready, daemon};

#[daemon(init = init, defer_ready)]
#[tokio::main(flavor = "current_thread")]
async fn main(name: String, ready: Ready) {
    tokio::task::yield_now().await;
    ready.notify();
    drop(name);
}

fn init() -> io::Result<String> {
    Ok("greeter".to_owned())
}
