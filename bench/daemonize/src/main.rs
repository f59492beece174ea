//! webapp's page by axum, a daemon by the crate daemonize, each as its documentation has it: at SIGTERM open requests
//! are answered. The crate has no restart; the next instance is started when this one has ended.

use std::error::Error;
use std::net::TcpListener;

use axum::{Router, response::Html, routing::get};
use daemonize::Daemonize;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

const PAGE: &str = include_str!("../../../examples/webapp/src/index.html");

fn main() -> Result<(), Box<dyn Error>> {
    // Before it forks: from the end of the start on clients are waited for.
    let listener = TcpListener::bind("127.0.0.1:7788")?;
    listener.set_nonblocking(true)?;
    Daemonize::new().pid_file("/run/daemonize.pid").start()?;
    Runtime::new()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let site = Router::new().route("/", get(async || Html(PAGE)));
        let end = async move { _ = terminate.recv().await };
        axum::serve(listener, site)
            .with_graceful_shutdown(end)
            .await?;
        Ok(())
    })
}
