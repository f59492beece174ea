//! A service with the control commands, and with a setting of each kind that a service file speaks
//! of.
//!
//! It notes each reload in its directory, and listens on a port that takes a capability.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::thread;

use daemon_rt::{Reloads, daemon, reloads, shutdown};

#[daemon(
    cli,
    pidfile = "/run/controlled/controlled.pid",
    user = "nobody",
    working_directory = "/var/lib/controlled",
    umask = 0o027,
    stderr = "/var/log/controlled.log",
    limits = ["nofile=512:1024", "core=0:unlimited"],
    nice = 5,
    oom_score_adj = 100,
    cpu_affinity = "0",
    capabilities = ["CAP_NET_BIND_SERVICE"],
    start_timeout = "20s",
    stop_timeout = "20s",
    reloads,
    init = init
)]
fn main(listener: TcpListener) {
    shutdown().wait();
    drop(listener);
}

fn init() -> io::Result<TcpListener> {
    // Asked for now, so that neither signal ends a service that is ready.
    let (_, reloads) = (shutdown(), reloads());
    fs::write("started", "")?;
    eprintln!("started");
    thread::spawn(move || note(reloads));
    daemon_rt::listen("http", "127.0.0.1:80").map_err(io::Error::other)
}

fn note(reloads: Reloads) {
    for _reload in reloads {
        let noted = OpenOptions::new().create(true).append(true).open("reloads");
        noted
            .and_then(|mut file| writeln!(file, "reloaded"))
            .expect("the directory is the service's");
    }
}
