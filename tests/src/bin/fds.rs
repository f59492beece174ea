//! A service that keeps inherited descriptors: 300, the one that `TUN_FD` names, and the one that
//! `--tun-fd N` or the file of `--config FILE` names, which is taken over. `LATE` names one that
//! `configure` tells `keep_fds`.

use std::error::Error;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use clap::Parser;
use daemon_rt::{Daemon, daemon, shutdown};

#[derive(Parser)]
struct Options {
    #[arg(long)]
    pidfile: PathBuf,
    #[arg(long)]
    tun_fd: Option<RawFd>,
    /// Holds the number.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Written by the service: what it has of the environment.
    #[arg(long)]
    report: Option<PathBuf>,
}

type Kept = (Option<OwnedFd>, Option<PathBuf>);

#[daemon(keep_fds = [300], keep_fds_from = ["TUN_FD"], configure = configure)]
fn main((tun, report): Kept) -> std::io::Result<()> {
    if let Some(report) = report {
        std::fs::write(report, std::env::var("TUN_FD").unwrap_or_default())?;
    }
    shutdown().wait();
    drop(tun);
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<Kept, Box<dyn Error + Send + Sync>> {
    let options = Options::parse();
    daemon.pidfile(options.pidfile);
    if let Ok(late) = std::env::var("LATE") {
        daemon.keep_fds([late.parse()?]);
    }
    let number = match (options.tun_fd, options.config) {
        (Some(number), _) => Some(number),
        (None, Some(config)) => Some(std::fs::read_to_string(config)?.trim().parse()?),
        (None, None) => None,
    };
    let tun = match number {
        Some(number) => Some(daemon.keep_fd(number)?),
        None => None,
    };
    Ok((tun, options.report))
}
