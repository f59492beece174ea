//! `peer-dmon DIRECTORY`: as the first page of dmon's documentation.

use std::{env, path::PathBuf, thread::park};

use dmon::nix::sys::stat::Mode;

fn main() {
    let directory = PathBuf::from(env::args_os().nth(1).expect("a directory"));
    dmon::options()
        .user(Some("nobody".parse().unwrap()))
        .working_directory(Some("/"))
        .pidfile(Some(directory.join("pid")))
        .stdout(Some("/dev/null"))
        .stderr(Some("/dev/null"))
        .umask(Some(Mode::from_bits(0o0077).unwrap()))
        .daemonize()
        .success()
        .unwrap();
    loop {
        park();
    }
}
