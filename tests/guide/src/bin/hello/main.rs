//! Greets over HTTP, and counts its visits: a service for production.

mod answers;
mod draining;

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, RwLock};

use axum::extract::State;
use axum::middleware::map_response;
use axum::{Router, routing::get};
use clap::Parser;
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, Reloads, daemon, listen, places, reloads, shutdown};
use nix::unistd::geteuid;

use crate::answers::last_answer;
use crate::draining::Draining;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Greets over HTTP, and counts its visits.
#[derive(Parser)]
#[command(name = "hello", version)]
struct Options {
    /// The file with the greeting
    #[arg(long, value_name = "FILE", default_value = "/etc/hello/greeting")]
    greeting: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:80")]
    listen: SocketAddr,
    #[command(subcommand)]
    action: Option<Action>,
}

#[daemon(
    name = "hello",
    pidfile = "/run/hello.pid",
    stdout,
    stderr,
    umask = 0o022,
    reloads,
    stop_timeout = "30s",
    configure = configure,
    privileged_init = open
)]
#[tokio::main]
async fn main(service: Service) -> Result<()> {
    let hello = Arc::new(Hello {
        greeting: RwLock::new(service.greeting),
        visits: service.visits,
    });
    tokio::spawn(reload(service.reloads, service.file, Arc::clone(&hello)));
    let site = Router::new()
        .route("/", get(greet))
        .with_state(hello)
        .layer(map_response(last_answer));
    let listener = Draining::new(tokio::net::TcpListener::from_std(service.listener)?);
    println!("serving");
    axum::serve(listener, site)
        .with_graceful_shutdown(shutdown().drained())
        .await?;
    println!("good-bye");
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<(Options, String)> {
    let mut options: Options = cli::parse();
    daemon
        .cli(env!("CARGO_PKG_VERSION"))
        .action(options.action.take().unwrap_or_default());
    if geteuid().is_root() {
        daemon.user("hello");
    }
    options.greeting = path::absolute(options.greeting)?; // the service runs in /
    let greeting = read(&options.greeting)?;
    Ok((options, greeting))
}

/// The configuration, which is small here.
fn read(file: &Path) -> Result<String> {
    let greeting =
        fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    if greeting.trim().is_empty() {
        return Err(format!("{}: no greeting", file.display()).into());
    }
    Ok(greeting)
}

/// What the main loop gets.
struct Service {
    listener: TcpListener,
    visits: File,
    file: PathBuf,
    greeting: String,
    reloads: Reloads,
}

fn open((options, greeting): (Options, String)) -> Result<Service> {
    let listener: TcpListener = listen("http", options.listen)?;
    listener.set_nonblocking(true)?;
    let state = places("hello").state_directory()?;
    fs::create_dir_all(&state)?;
    let visits = state.join("visits");
    let visits = File::options()
        .append(true)
        .create(true)
        .open(&visits)
        .map_err(|error| format!("{}: {error}", visits.display()))?;
    Ok(Service {
        listener,
        visits,
        file: options.greeting,
        greeting,
        reloads: reloads(),
    })
}

struct Hello {
    greeting: RwLock<String>,
    visits: File,
}

/// A byte for each visit: the length of the file is their number, whatever instance has written.
async fn greet(State(hello): State<Arc<Hello>>) -> String {
    let mut visits = &hello.visits;
    if let Err(error) = visits.write_all(b".") {
        eprintln!("the visit is not counted: {error}");
    }
    let number = visits.metadata().map_or(0, |visits| visits.len());
    let greeting = hello.greeting.read().expect("no panic");
    format!("{}, visitor {number}\n", greeting.trim())
}

async fn reload(mut reloads: Reloads, file: PathBuf, hello: Arc<Hello>) {
    while let Some(reload) = reloads.next().await {
        match read(&file) {
            Ok(greeting) => *hello.greeting.write().expect("no panic") = greeting,
            Err(error) => reload.failed(error),
        }
    }
}
