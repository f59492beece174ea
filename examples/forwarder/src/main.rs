//! Forwards TCP connections, as its configuration file says:
//!
//! ```toml
//! listen = "127.0.0.1:8080"
//! target = "192.0.2.1:80"
//! ```
//!
//! `forwarder reload` has it read the file again: new connections go to the new target.

#[path = "../../frameworks/src/accept.rs"]
mod accept;

use std::error::Error;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::thread;

use clap::Parser;
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, Reloads, daemon, listen, reloads, shutdown};
use serde::Deserialize;

use crate::accept::accept;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Forwards TCP connections
#[derive(Parser)]
#[command(name = "forwarder", version)]
struct Options {
    /// The configuration
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/forwarder.toml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: SocketAddr,
    target: SocketAddr,
}

struct Service {
    file: PathBuf,
    config: Config,
    listener: TcpListener,
    reloads: Reloads,
}

#[daemon(name = "forwarder", pidfile, stdout, stderr, umask = 0o022, reloads, drain_timeout = "8s",
         configure = configure, init = open)]
fn main(service: Service) -> Result<()> {
    let target = Arc::new(RwLock::new(service.config.target));
    let current = Arc::clone(&target);
    thread::spawn(move || {
        for reload in service.reloads {
            match read(&service.file) {
                Ok(new) if new.listen != service.config.listen => {
                    reload.failed("another address to listen on takes a restart");
                }
                Ok(new) => *current.write().expect("no panic") = new.target,
                Err(error) => reload.failed(error),
            }
        }
    });
    serve(&service.listener, &target)?;
    drop(service.listener);
    shutdown().drained().wait();
    Ok(())
}

/// Runs on the terminal. For `stop` and others that need no configuration its errors do not matter.
fn configure(daemon: &mut Daemon) -> Result<(PathBuf, Config)> {
    let options: Options = cli::parse();
    daemon
        .cli(env!("CARGO_PKG_VERSION"))
        .action(options.action.unwrap_or_default());
    let file = path::absolute(options.config)?; // the service runs in /
    let config = read(&file)?;
    Ok((file, config))
}

fn read(file: &Path) -> Result<Config> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let config = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(config)
}

fn open((file, config): (PathBuf, Config)) -> Result<Service> {
    let listener: TcpListener = listen("forwarder", config.listen)?;
    listener.set_nonblocking(true)?;
    Ok(Service {
        file,
        config,
        listener,
        reloads: reloads(),
    })
}

fn serve(listener: &TcpListener, target: &RwLock<SocketAddr>) -> io::Result<()> {
    while let Some(client) = accept(listener)? {
        let target = *target.read().expect("no panic");
        let held = shutdown().hold(); // a connection may end before the service does
        thread::spawn(move || {
            if let Err(error) = forward(&client, target) {
                eprintln!("{target}: {error}");
            }
            drop(held);
        });
    }
    Ok(())
}

/// Copies in both directions, until both have ended or one has failed.
fn forward(client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = &TcpStream::connect(target)?;
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        if let Err(error) = io::copy(&mut from, &mut to) {
            // The other direction waits for one of these two.
            _ = from.shutdown(Shutdown::Both);
            _ = to.shutdown(Shutdown::Both);
            return Err(error);
        }
        to.shutdown(Shutdown::Write)
    };
    thread::scope(|scope| {
        let questions = scope.spawn(move || copy(client, server));
        copy(server, client)?;
        questions.join().expect("no panic")
    })
}
