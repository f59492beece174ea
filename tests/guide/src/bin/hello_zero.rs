//! Greets over HTTP: the least that is a service.

use std::{io, net::TcpListener};

use axum::{Router, routing::get};
use daemon_rt::{daemon, shutdown};

#[daemon(name = "hello", pidfile, stdout, stderr, umask = 0o022, cli, init = bind)]
#[tokio::main]
async fn main(listener: TcpListener) -> io::Result<()> {
    let site = Router::new().route("/", get(async || "hello\n"));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    println!("serving");
    axum::serve(listener, site)
        .with_graceful_shutdown(async { shutdown().await })
        .await
}

fn bind() -> io::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:8080")?;
    listener.set_nonblocking(true)?; // as tokio wants it
    Ok(listener)
}
