use std::io;
use std::net::TcpListener;

use daemon_rt::daemon;

#[daemon(pidfile = "/run/greeter.pid", init = bind)]
#[tokio::main(flavor = "current_thread")]
async fn main(listener: TcpListener) -> io::Result<()> {
    tokio::task::yield_now().await;
    drop(listener);
    Ok(())
}

fn bind() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}
