//! A service with a command line of its own, which has the control commands among its arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, daemon, shutdown};

/// Keeps a note.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where the pidfile is
    #[arg(long)]
    pidfile: Option<PathBuf>,
    /// Have the pidfile at its usual place
    #[arg(long)]
    usual: bool,
    /// What to keep
    #[arg(long, default_value = "")]
    note: String,
    /// A file with lines `note=TEXT` and `pidfile=PATH`
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[daemon(configure = configure)]
fn main(note: String) {
    shutdown().wait();
    drop(note);
}

fn configure(daemon: &mut Daemon) -> io::Result<String> {
    let options: Options = cli::parse();
    daemon.cli(env!("CARGO_PKG_VERSION"));
    daemon.action(options.action.unwrap_or_default());
    if let Some(pidfile) = options.pidfile {
        daemon.pidfile(std::path::absolute(pidfile)?);
    }
    if options.usual {
        daemon.default_pidfile();
    }
    match options.config {
        Some(config) => read(&config, daemon),
        None => Ok(options.note),
    }
}

/// Returns the note.
fn read(config: &Path, daemon: &mut Daemon) -> io::Result<String> {
    let mut note = String::new();
    for line in fs::read_to_string(config)?.lines() {
        match line.split_once('=') {
            Some(("note", text)) => text.clone_into(&mut note),
            Some(("pidfile", path)) => _ = daemon.pidfile(path),
            _ => return Err(io::Error::other(format!("{}: {line}?", config.display()))),
        }
    }
    Ok(note)
}
