//! A program whose `main` has a setting that is an expression, which opens descriptors.

#[path = "late/owned.rs"]
mod owned;

use std::env;
use std::error::Error;
use std::ffi::OsString;

use daemon_rt::daemon;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(pidfile = pidfile(), init = owned::check)]
fn main() {
    daemon_rt::shutdown().wait();
}

/// The pidfile; and the files of the program are opened.
fn pidfile() -> OsString {
    owned::open(&directory()).expect("its files");
    env::var_os("PIDFILE_PATH").expect("a pidfile")
}

fn directory() -> std::path::PathBuf {
    env::var_os("DIRECTORY").expect("a directory").into()
}
