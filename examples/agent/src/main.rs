//! A memory for shells: what one remembers, every other of the same user can recall, until nobody
//! has asked for some minutes. It is kept by an agent in the background, which the first call
//! starts, so that nobody has to.
//!
//! ```text
//! $ agent set greeting hello
//! $ agent get greeting
//! hello
//! ```
//!
//! Client and agent are the same program. The client connects to the agent's socket. Where nobody
//! answers it launches `agent serve`, goes on when the agent is ready, and connects again.

#![cfg_attr(
    not(unix),
    allow(dead_code, reason = "client and agent talk over a Unix socket")
)]

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod serve;

#[cfg(unix)]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(unix)]
use daemon_rt::places;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A memory for shells.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Remember a value
    Set {
        /// Its name
        key: String,
        /// What to remember
        value: String,
    },
    /// Recall a value; status 1 if there is none
    Get {
        /// Its name
        key: String,
    },
    /// Add one to a number, which is 0 at first, and show it
    Count {
        /// Its name
        key: String,
    },
    /// Run the agent, which the other commands start when they need it
    Serve {
        /// After how many seconds without a call it ends
        #[arg(long, default_value_t = 600)]
        idle: u64,
    },
}

#[cfg(unix)]
fn main() -> ExitCode {
    match Options::parse().command {
        Command::Serve { .. } => serve::serve(),
        Command::Set { key, value } => client::main(&["set", &key, &value]),
        Command::Get { key } => client::main(&["get", &key]),
        Command::Count { key } => client::main(&["count", &key]),
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    Options::parse();
    eprintln!("agent: Unix sockets are not available on this system");
    ExitCode::FAILURE
}

/// The agent's pidfile, at its usual place: agent and clients find it by the same rule.
#[cfg(unix)]
fn pidfile() -> Result<PathBuf> {
    Ok(places("agent").pidfile()?)
}

/// The agent's socket, beside its pidfile.
#[cfg(unix)]
fn socket() -> Result<PathBuf> {
    Ok(pidfile()?.with_extension("sock"))
}
