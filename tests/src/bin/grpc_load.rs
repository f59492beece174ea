//! Calls `grpc.health.v1.Health/Check` as fast as so many clients can, until SIGTERM: `grpc_load kept CLIENTS ADDRESS`, or
//! `grpc_load new CLIENTS ADDRESS` for a connection of its own for each call. What the server says it will not do (after GOAWAY) is
//! done on another connection, as RFC 9113, 6.8, has it; h2load gives up there. What has failed is in one line, with "errors".

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use daemon_rt::shutdown;
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::net::TcpStream;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The length of no message, and "serving".
const QUESTION: &[u8] = &[0; 5];
const ANSWER: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    connections: AtomicU64,
    errors: Mutex<Vec<String>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().expect("kept|new CLIENTS ADDRESS");
    let (connections, clients, address) = (argument(), argument(), argument());
    let number: usize = clients.parse().expect("a number of clients");
    let counts = Arc::new(Counts::default());
    let mut clients = Vec::new();
    for _ in 0..number {
        let (keeps, address, counts) = (connections == "kept", address.clone(), counts.clone());
        clients.push(tokio::spawn(async move {
            if let Err(error) = call_on(keeps, &address, &counts).await {
                counts
                    .errors
                    .lock()
                    .expect("no panic")
                    .push(error.to_string());
            }
        }));
    }
    for client in clients {
        client.await.expect("no panic");
    }
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!(
        "{} requests in {} connections",
        count(&counts.answered),
        count(&counts.connections)
    );
    let errors = counts.errors.lock().expect("no panic");
    if !errors.is_empty() {
        println!("errors: {errors:?}");
    }
}

/// Calls again and again, until a call fails.
async fn call_on(keeps: bool, address: &str, counts: &Counts) -> Result<()> {
    while !shutdown().requested() {
        let mut connection = connect(address).await?;
        counts.connections.fetch_add(1, Ordering::Relaxed);
        while !shutdown().requested() {
            match call(&mut connection).await {
                Ok(()) => counts.answered.fetch_add(1, Ordering::Relaxed),
                Err(error) if is_to_be_repeated(&*error) => break,
                Err(error) => return Err(error),
            };
            if !keeps {
                break;
            }
        }
    }
    Ok(())
}

async fn connect(address: &str) -> Result<SendRequest<&'static [u8]>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = Builder::new().handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn call(connection: &mut SendRequest<&'static [u8]>) -> Result<()> {
    let request = Request::post("http://localhost/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut connection = connection.clone().ready().await?;
    let (answer, mut body) = connection.send_request(request, false)?;
    // If that fails, the answer says why.
    _ = body.send_data(QUESTION, true);
    let (head, mut body) = answer.await?.into_parts();
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        message.extend_from_slice(&piece?);
    }
    let trailers = body.trailers().await?;
    let status = trailers
        .as_ref()
        .and_then(|trailers| trailers.get("grpc-status"));
    if head.status == 200 && message == ANSWER && status.is_some_and(|status| status == "0") {
        return Ok(());
    }
    Err(format!("{head:?} {message:?} {trailers:?}").into())
}

/// The server has not begun with it, and says so.
fn is_to_be_repeated(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<h2::Error>() {
        Some(error) => {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        }
        None => false,
    }
}
