//! The service of the walk through surroundings. The command line is the library's, so that the
//! settings come by the environment: `SURROUNDED` holds words, with spaces between.
//!
//! - `pidfile=PATH`, `user=NAME`: settings
//! - `address=ADDRESS`: where it answers each connection with its pid and the number of its reloads
//! - `fail`: `init` fails
//! - `worker`: `init` forks a child, which executes nothing and lives on

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::{process, thread};

use daemon_rt::{Daemon, daemon, listener_or, reloads, shutdown};
use daemon_tests::Settings;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

static RELOADS: AtomicUsize = AtomicUsize::new(0);

#[daemon(cli, configure = configure, init = init, umask = 0o022)]
fn main(listener: TcpListener) {
    while !shutdown().requested() {
        let asked = PollFd::new(listener.as_fd(), PollFlags::POLLIN);
        // A signal interrupts it; then nobody has come.
        _ = poll(
            &mut [asked, PollFd::new(shutdown().as_fd(), PollFlags::POLLIN)],
            PollTimeout::NONE,
        );
        if let Ok((mut peer, _)) = listener.accept() {
            _ = writeln!(peer, "{} {}", process::id(), RELOADS.load(Relaxed));
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> std::result::Result<Settings, Infallible> {
    Ok(Settings::of_variable("SURROUNDED", daemon))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a hook takes what the one before has returned"
)]
fn init(settings: Settings) -> Result<TcpListener> {
    if settings.get("worker").is_some() && daemon_harness::fork()?.is_child() {
        loop {
            thread::park();
        }
    }
    let address = settings.get("address").ok_or("no address")?;
    let listener = listener_or("main", || TcpListener::bind(address))?;
    listener.set_nonblocking(true)?;
    _ = shutdown();
    let reloads = reloads();
    thread::spawn(move || reloads.for_each(|_reload| _ = RELOADS.fetch_add(1, Relaxed)));
    if settings.get("fail").is_some() {
        return Err("as it was told to".into());
    }
    Ok(listener)
}
