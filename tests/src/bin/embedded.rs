//! A service with a command line of its own, which has the control commands among its arguments.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Parser;
use daemon_rt::cli::Action;
use daemon_rt::{Daemon, daemon, shutdown};

/// Keeps a note.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Where the pidfile is
    #[arg(long)]
    pidfile: PathBuf,
    /// What to keep
    #[arg(long, default_value = "")]
    note: String,
    /// A file with the note, and with nothing else
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
    let options = Options::parse();
    daemon
        .pidfile(std::path::absolute(options.pidfile)?)
        .action(options.action.unwrap_or_default());
    let Some(config) = options.config else {
        return Ok(options.note);
    };
    match fs::read_to_string(&config)?.strip_prefix("note=") {
        Some(note) => Ok(note.to_owned()),
        None => Err(io::Error::other(format!("{}: no note", config.display()))),
    }
}
