//! An HTTP service: binds its port as root, serves as nobody, and loses no request when it is
//! restarted.

mod answers;
mod draining;

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use axum::middleware::map_response;
use axum::{Router, response::Html, routing::get};
use clap::Parser;
use daemon_rt::cli::{self, Action};
#[cfg(unix)]
use daemon_rt::places;
use daemon_rt::{Daemon, daemon, listen, shutdown};
#[cfg(unix)]
use daemon_rt::{remove_stored_fd, store_fd};
#[cfg(unix)]
use nix::unistd::geteuid;
use tower_http::services::ServeDir;

use crate::answers::last_answer;
use crate::draining::Draining;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Serves a directory of files, or else a page of its own, over HTTP on this machine.
#[derive(Parser)]
#[command(name = "webapp", version)]
struct Options {
    /// The port [default: 80 for root, 8080 for others]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The directory to serve; as root it has to be readable by the user nobody
    #[arg(short, long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    /// As whom it serves, if root starts it
    #[arg(short, long, default_value = "nobody")]
    user: String,
    #[command(subcommand)]
    action: Option<Action>,
}

// Under a umask of 0, daemon(7)'s own, everyone could write what a service in Rust creates: std
// asks for mode 0666. Open requests may take half a minute when the service is told to stop: that is
// less than the patience of managers, as systemd kills after 90 seconds.
#[daemon(
    name = "webapp",
    pidfile,
    stdout,
    stderr,
    umask = 0o022,
    stop_timeout = "30s",
    configure = configure,
    privileged_init = bind,
    init = site
)]
#[tokio::main]
async fn main((listener, site): (TcpListener, Router)) -> Result<()> {
    let listener = Draining::new(tokio::net::TcpListener::from_std(listener)?);
    let site = site.layer(map_response(last_answer));
    let served = axum::serve(listener, site).with_graceful_shutdown(shutdown().drained());
    Ok(served.await?)
}

/// On the terminal: reads the command line, on which wrong arguments end the program with status 2.
fn configure(daemon: &mut Daemon) -> Result<(SocketAddr, Option<PathBuf>)> {
    let Options {
        port,
        root,
        user,
        action,
    } = cli::parse();
    let action = action.unwrap_or_default();
    let starts = matches!(action, Action::Start { .. });
    daemon.cli(env!("CARGO_PKG_VERSION")).action(action);
    // A relative path is meant from here: the service itself runs in /.
    let root = root.map(|root| {
        root.canonicalize()
            .map_err(|error| format!("{}: {error}", root.display()))
    });
    let root = root.transpose()?;

    let port = port.unwrap_or(if is_root() { 80 } else { 8080 });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if starts {
        println!("To see it work: curl http://{address}/");
    }
    settle(daemon, user, starts)?;
    Ok((address, root))
}

/// Says where its log is, and sets the user.
#[cfg(unix)]
fn settle(daemon: &mut Daemon, user: String, starts: bool) -> Result<()> {
    if starts {
        println!("Its log:        {}", places("webapp").log()?.display());
        println!("To stop it:     webapp stop");
    }
    if is_root() {
        daemon.user(user);
    }
    Ok(())
}

/// Where the system is not Unix the service stays on this terminal.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
fn settle(daemon: &mut Daemon, _: String, starts: bool) -> Result<()> {
    daemon.no_pidfile();
    if starts {
        println!("To stop it:     Ctrl-C");
    }
    Ok(())
}

#[cfg(unix)]
fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// Still as root, who alone may bind the ports below 1024. Connections wait in the backlog until
/// the service is ready.
fn bind((address, root): (SocketAddr, Option<PathBuf>)) -> Result<(TcpListener, Option<PathBuf>)> {
    // By its name a socket that systemd has opened for the service is found.
    let listener: TcpListener = listen("http", address)?;
    // As asynchronous runtimes want it.
    listener.set_nonblocking(true)?;
    #[cfg(unix)]
    keep(&listener);
    Ok((listener, root))
}

/// Has systemd keep the socket, in place of an older one, while it restarts the service. Where no
/// manager does such a thing, that is not an error.
#[cfg(unix)]
fn keep(listener: &TcpListener) {
    if remove_stored_fd("http").is_ok() {
        _ = store_fd("http", listener);
    }
}

/// As the user whom the service runs as: a directory that this user cannot read is a failed start.
fn site((listener, root): (TcpListener, Option<PathBuf>)) -> Result<(TcpListener, Router)> {
    let Some(root) = root else {
        let site = Router::new()
            .route("/", get(Html(include_str!("index.html"))))
            .route("/slow", get(slow));
        return Ok((listener, site));
    };
    fs::read_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    Ok((
        listener,
        Router::new().fallback_service(ServeDir::new(root)),
    ))
}

/// A page to stop the service on.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(3)).await;
    "That took a while, and nobody cut it short.\n"
}
