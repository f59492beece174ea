//! tonic: the service `grpc.health.v1.Health`. Here the protocol has a word for the end, GOAWAY, after
//! which the client goes on with another connection.

#[path = "../../../webapp/src/draining.rs"]
mod draining;

use std::error::Error;
use std::future;
use std::io;
use std::net::TcpListener;

use daemon_rt::{daemon, listen, shutdown};
use futures_util::stream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::draining::{Draining, Held};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(name = "tonic-server", cli, pidfile, stdout, stderr, umask = 0o022, init = bind)]
#[tokio::main]
async fn main(listener: TcpListener) -> Result<()> {
    let listener = Draining::new(tokio::net::TcpListener::from_std(listener)?);
    println!("listens at {}", listener.local_addr()?);
    let connections = stream::unfold(listener, async |mut listener| {
        let (connection, _) = listener.accept().await?;
        Some((io::Result::Ok(connection), listener))
    });
    let (_reporter, health) = tonic_health::server::health_reporter();
    // At the end of the stream tonic says GOAWAY on each connection, if it is to end gracefully at all.
    let served = Server::builder()
        .add_service(health)
        .serve_with_incoming_shutdown(connections, future::pending());
    tokio::select! {
        served = served => Ok(served?),
        // Calls that take longer are cut.
        () = shutdown().drained() => Ok(()),
    }
}

fn bind() -> Result<TcpListener> {
    let listener: TcpListener = listen("grpc", "127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Connected for Held {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
