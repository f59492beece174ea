//! A crate that forbids what it can.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all, clippy::pedantic)]
#![deny(
    let_underscore_drop,
    missing_debug_implementations,
    missing_docs,
    non_ascii_idents,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unreachable_pub,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    clippy::exhaustive_structs,
    clippy::missing_docs_in_private_items,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used
)]

use std::net::TcpListener;
use std::num::ParseIntError;
use std::{env, io};

use daemon_rt::{Daemon, Ready, daemon};

/// Says hello to each that comes.
#[daemon(
    pidfile,
    umask = 0o027,
    start_timeout = "30000ms",
    mode = "foreground",
    configure = configure,
    init = bind,
    defer_ready
)]
fn main(listener: TcpListener, ready: Ready) -> io::Result<()> {
    ready.notify();
    for peer in listener.incoming() {
        let _peer = peer?;
    }
    Ok(())
}

/// Sets what is known only at run time.
fn configure(daemon: &mut Daemon) -> Result<u16, ParseIntError> {
    let _: &mut Daemon = daemon.name("greeter");
    env::args().nth(1).map_or(Ok(7007), |port| port.parse())
}

/// Binds the port.
fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
}
