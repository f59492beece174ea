//! hyper: the loop that accepts, the tasks that serve, and the end are the service's own.

#[path = "../../../webapp/src/draining.rs"]
mod draining;

use std::convert::Infallible;
use std::error::Error;
use std::net::TcpListener;

use daemon_rt::{daemon, listen, shutdown};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::draining::Draining;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(name = "hyper-server", cli, pidfile, stdout, stderr, umask = 0o022, init = bind)]
#[tokio::main]
async fn main(listener: TcpListener) -> Result<()> {
    let mut listener = Draining::new(tokio::net::TcpListener::from_std(listener)?);
    println!("listens at {}", listener.local_addr()?);
    while let Some((connection, _)) = listener.accept().await {
        tokio::spawn(async {
            // hyper's `graceful_shutdown` would close a connection on which a request is on its way.
            let connection = TokioIo::new(connection);
            let served = http1::Builder::new().serve_connection(connection, service_fn(answer));
            if let Err(error) = served.await {
                println!("a client: {error}");
            }
        });
    }
    shutdown().drained().await;
    Ok(())
}

fn bind() -> Result<TcpListener> {
    let listener: TcpListener = listen("http", "127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn answer(_: Request<Incoming>) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::from("hello\n"));
    if shutdown().requested() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
