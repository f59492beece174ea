//! A server that leaves its life to a framework, in the shape of programs that use pingora: the start
//! comes below `main`, when the configuration is read and the log is open.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use clap::{ArgAction, Parser};
use daemon_library::framework::Server;
use daemon_rt::Mode;

/// A server.
#[derive(Parser)]
struct Options {
    /// Detach
    #[arg(short, long, action = ArgAction::Count)]
    daemon: u8,
    /// Replace the instance that runs
    #[arg(short, long, action = ArgAction::Count)]
    upgrade: u8,
    /// The configuration file
    #[arg(short, long)]
    conf: PathBuf,
}

fn main() -> ExitCode {
    match server(&Options::parse()) {
        Ok(server) => server.run_forever(),
        Err(error) => {
            eprintln!("port_framework: {error}");
            ExitCode::from(78) // EX_CONFIG
        }
    }
}

fn server(options: &Options) -> Result<Server, Box<dyn Error>> {
    let text = fs::read_to_string(&options.conf)?;
    let value = |wanted: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        let mut values = pairs
            .filter(|(key, _)| *key == wanted)
            .map(|(_, value)| value);
        values
            .next()
            .ok_or(format!("{}: no {wanted}", options.conf.display()))
    };
    // A FIFO that is opened for both has a reader, so that nothing waits for one.
    let mut log = File::options()
        .read(true)
        .write(true)
        .open(value("error_log")?)?;
    writeln!(log, "{} has its configuration", process::id())?;
    Ok(Server {
        program: env::current_exe()?,
        pidfile: value("pid_file")?.into(),
        address: value("listen")?.to_owned(),
        workers: value("threads")?.parse()?,
        mode: if options.daemon > 0 {
            Mode::Detach
        } else {
            Mode::Foreground
        },
        upgrade: options.upgrade > 0,
        log,
    })
}
