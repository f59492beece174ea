//! `peer-daemonbase --detach --pid-file PATH --user NAME`: as `examples/reflect.rs` of daemonbase.

use std::process::ExitCode;

use clap::Parser;
use daemonbase::error::ExitError;
use daemonbase::logging::Logger;
use daemonbase::process::Process;
use daemonbase::{logging, process};
use log::warn;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    log: logging::Args,

    /// Detach from the terminal
    #[arg(short, long)]
    detach: bool,

    #[command(flatten)]
    process: process::Args,
}

fn run() -> Result<(), ExitError> {
    Logger::init_logging()?;

    let args = Args::parse();
    let log = Logger::from_config(&args.log.to_config())?;
    let mut process = Process::from_config(args.process.into_config());

    log.switch_logging(args.detach)?;
    process.setup_daemon(args.detach)?;
    process.drop_privileges()?;

    warn!("Up and running.");
    loop {
        std::thread::park();
    }
}

fn main() -> ExitCode {
    // The example drops the result, so that it always ends with 0.
    if run().is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
