//! actix-web, an `App` in each thread. `HttpServer` drops connections when it ends: those that it has
//! accepted and a worker has not yet seen. So this accepts by itself, and has actix-http serve.

#[path = "../../../webapp/src/draining.rs"]
mod draining;

use std::error::Error;
use std::net::TcpListener;
use std::thread;

use actix_http::{ConnectionType, HttpService};
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::System;
use actix_web::{App, web};
use daemon_rt::{daemon, listen, shutdown};

use crate::draining::Draining;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[daemon(name = "actix-server", cli, pidfile, stdout, stderr, umask = 0o022, init = bind)]
fn main(listener: TcpListener) -> Result<()> {
    let mut threads = Vec::new();
    for _ in 0..thread::available_parallelism()?.get() {
        let listener = listener.try_clone()?;
        threads.push(thread::spawn(|| System::new().block_on(serve(listener))));
    }
    drop(listener);
    for thread in threads {
        thread.join().expect("no panic")?;
    }
    Ok(())
}

fn bind() -> Result<TcpListener> {
    let listener: TcpListener = listen("http", "127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(listener: TcpListener) -> Result<()> {
    let mut listener = Draining::new(tokio::net::TcpListener::from_std(listener)?);
    println!("listens at {}", listener.local_addr()?);
    let app = App::new()
        .wrap_fn(|request, app| {
            let response = app.call(request);
            async {
                let mut response = response.await?;
                if shutdown().requested() {
                    let head = response.response_mut().head_mut();
                    head.set_connection_type(ConnectionType::Close);
                }
                Ok(response)
            }
        })
        .route("/", web::get().to(async || "hello\n"));
    let http = HttpService::build().h1(map_config(app, |()| AppConfig::default()));
    let http = http.new_service(()).await.map_err(|()| "no service")?;
    while let Some((connection, peer)) = listener.accept().await {
        let served = http.call((connection, Some(peer)));
        actix_web::rt::spawn(async {
            if let Err(error) = served.await {
                println!("a client: {error}");
            }
        });
    }
    shutdown().drained().await;
    Ok(())
}
