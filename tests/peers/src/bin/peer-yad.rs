//! `peer-yad DIRECTORY`: as the README of yad, which has no pidfile.

use std::{env, path::PathBuf, thread::park};

use yad::Stdio;

fn main() {
    let directory = PathBuf::from(env::args_os().nth(1).expect("a directory"));
    match yad::with_options()
        .stdin(Stdio::Null)
        .stderr(Stdio::Null)
        .stdout(Stdio::output(directory.join("daemon.log")))
        .daemonize()
    {
        Ok(_) => println!("I'm a daemon"),
        // The example leaves the status at 0.
        Err(err) => {
            eprintln!("Failed to launch daemon: {}", err);
            std::process::exit(1);
        }
    }
    loop {
        park();
    }
}
