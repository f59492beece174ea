//! The service whose pidfile the tests of `holding` look at. The command line is the library's, so
//! that the settings come by the environment: `HELD` holds words, with spaces between.
//!
//! - `pidfile=PATH`, `user=NAME`, `chroot=PATH`: settings
//! - `reads`: it reads its own pidfile, and so loses the lock that says which process it is
//! - `worker`: `init` forks a child, which executes nothing and lives on
//! - `hides`: it makes itself not dumpable, as file capabilities and a program that cannot be read
//!   do
//! - `warm_up=FIFO`: `init` waits until someone has opened it for writing, and closed it
//! - `closes`: when it is ready it closes every descriptor but 0, 1 and 2
//! - `asks=FILE`: when it is ready it asks what it is doing itself, and writes the answer into the
//!   file
//!
//! Without `pidfile`, and with `path=PATH`, it is no service: it says what the one at this path is
//! doing, after it has gone to the root directory.

use std::convert::Infallible;
use std::error::Error;
use std::{fs, thread};

use daemon_rt::control::Control;
use daemon_rt::{Daemon, daemon, listener_or, reloads, shutdown};
use daemon_tests::Settings;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(cli, configure = configure, privileged_init = read, init = init, umask = 0o022)]
fn main(settings: Settings) {
    if let (Some(path), Some(pidfile)) = (settings.get("asks"), settings.get("pidfile")) {
        let answer = Control::new(pidfile).status();
        fs::write(path, format!("{answer:?}")).expect("a file to write to");
    }
    if settings.get("closes").is_some() {
        daemon_harness::rough::close_range(3, i32::MAX).expect("closed");
    }
    shutdown().wait();
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> std::result::Result<Settings, Infallible> {
    let settings = Settings::of_variable("HELD", daemon);
    if let Some(path) = settings.get("path") {
        let control = Control::new(path);
        std::env::set_current_dir("/").expect("there is one");
        println!("{:?}", control.status());
        std::process::exit(0);
    }
    settings.get("chroot").map(|path| daemon.chroot(path));
    Ok(settings)
}

fn read(settings: Settings) -> Result<Settings> {
    if let (Some(_), Some(pidfile)) = (settings.get("reads"), settings.get("pidfile")) {
        fs::read(pidfile)?;
    }
    Ok(settings)
}

fn init(settings: Settings) -> Result<Settings> {
    if settings.get("hides").is_some() {
        nix::sys::prctl::set_dumpable(false)?;
    }
    if settings.get("worker").is_some() && daemon_harness::fork()?.is_child() {
        loop {
            thread::park();
        }
    }
    if let Some(gate) = settings.get("warm_up") {
        fs::read(gate)?;
    }
    // With a socket to hand over.
    std::mem::forget(listener_or("main", || {
        std::net::TcpListener::bind("127.0.0.1:0")
    })?);
    _ = shutdown();
    let reloads = reloads();
    thread::spawn(move || reloads.for_each(drop));
    Ok(settings)
}
