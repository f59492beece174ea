use std::io;

use daemon_rt::daemon;

#[daemon(init = init, main_loop = serve)]
fn main() {}

fn init() -> io::Result<u8> {
    Ok(1)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(state: u8) {
    tokio::task::yield_now().await;
    let _ = state;
}
