//! A service with the control commands, whose settings are options: `--set pidfile=/run/x.pid`.
//!
//! It says on standard error the names of the sockets that it has got, that it has started, and each
//! reload.

use std::error::Error;
use std::thread;

use clap::Parser;
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, Listener, daemon, listeners, reloads, shutdown};
use daemon_tests::set;

#[derive(Parser)]
struct Options {
    /// A setting and its value
    #[arg(long)]
    set: Vec<String>,
    /// A file that it needs
    #[arg(long)]
    config: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[daemon(configure = configure, init = init)]
fn main(listeners: Vec<Listener>) {
    shutdown().wait();
    drop(listeners);
}

fn configure(daemon: &mut Daemon) -> Result<(), Box<dyn Error>> {
    let options: Options = cli::parse();
    daemon.action(options.action.unwrap_or_default());
    for setting in &options.set {
        let (key, value) = setting.split_once('=').ok_or("KEY=VALUE")?;
        if !set(daemon, key, value)? {
            return Err(format!("unknown setting {key}").into());
        }
    }
    if let Some(config) = options.config {
        std::fs::metadata(config)?;
    }
    Ok(())
}

fn init() -> Result<Vec<Listener>, daemon_rt::Error> {
    let (_, reloads) = (shutdown(), reloads());
    let listeners = listeners()?;
    for listener in &listeners {
        eprintln!("has {}", listener.name());
    }
    eprintln!("started");
    thread::spawn(move || {
        for _reload in reloads {
            eprintln!("reloaded");
        }
    });
    Ok(listeners)
}
