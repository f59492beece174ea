//! A service with the control commands, which the tests of these start. The command line is the
//! library's, so that the settings come by the environment: `CTL` holds words, with spaces between.
//!
//! - `pidfile=PATH`, `user=NAME`, `mode=foreground`, `working_directory=PATH`, `waits`
//!   (for another instance): settings
//! - `listen=FILE`: the service answers requests, at an address that it writes into the file, and
//!   takes its listener from the library
//! - `alone=FILE`: the same, but it makes its listener itself; with both it answers at the former
//! - `blocking`, `shuts`: what it should not do to a listener that it shares: set it blocking, shut
//!   it down at the end
//! - `warm_up=FIFO`: `init` waits until someone has opened it for writing, and closed it
//! - `fail`: `init` fails
//! - `worker`: it forks a process that lives on when it has ended; `worker=COMMAND` executes one
//! - `stubborn`: it does not end at SIGTERM
//! - `reloads=FIFO`: each reload waits as `warm_up` does; `reloads=` does not
//! - `broken=REASON`: each reload fails
//! - `status=WORD`: what it is doing, when it is ready; `\n` in it ends a line
//! - `stdout=LOG`, `stderr=LOG`, `log_size=BYTES`, `log_keep=FILES`,
//!   `cpu_affinity=LIST`, `stop_timeout=SECONDS`, `drain_timeout=SECONDS`: settings
//! - `drains`: it is never finished with its work, and ends when the time for that is over
//! - `chatters`: it prints numbered lines, some 10 MB a second, until it is told to end; the last has
//!   their number
//! - `broken_configuration`: `configure` fails
//! - `hangup=FILE`: it handles SIGHUP itself, with a line in the file for each

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use daemon_rt::{AlreadyRunning, Daemon, Mode, daemon, listener_or, reloads, shutdown};
use daemon_tests::Settings;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[daemon(cli, configure = configure, init = init, umask = 0o022)]
fn main((settings, listener): (Settings, Option<TcpListener>)) -> Result<()> {
    if let Some(word) = settings.get("status") {
        daemon_rt::status(&word.replace(r"\n", "\n"));
    }
    let chatter = settings.get("chatters").map(|_| thread::spawn(chatter));
    if settings.get("stubborn").is_some() {
        loop {
            thread::park();
        }
    }
    if let Some(listener) = listener {
        serve(&listener)?;
        if settings.get("shuts").is_some() {
            TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both)?;
        }
    }
    shutdown().wait();
    if settings.get("drains").is_some() {
        let _hold = shutdown().hold();
        shutdown().drained().wait();
    }
    if let Some(chatter) = chatter {
        chatter.join().expect("no panic")?;
    }
    Ok(())
}

/// Prints `PID NUMBER …`, and in the end `PID end NUMBER`.
fn chatter() -> io::Result<()> {
    let (pid, mut number) = (std::process::id(), 0);
    let (padding, mut out) = ("x".repeat(80), io::stdout().lock());
    while !shutdown().requested() {
        for _ in 0..100 {
            writeln!(out, "{pid} {number} {padding}")?;
            number += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    writeln!(out, "{pid} end {number}")
}

fn configure(daemon: &mut Daemon) -> std::result::Result<Settings, &'static str> {
    let settings = Settings::of_variable("CTL", daemon);
    if let Some(log) = settings.get("stdout") {
        daemon.stdout(log);
    }
    if let Some(log) = settings.get("stderr") {
        daemon.stderr(log);
    }
    if let Some(processors) = settings.get("cpu_affinity") {
        daemon.cpu_affinity(processors);
    }
    if let Some(Ok(seconds)) = settings.get("stop_timeout").map(str::parse) {
        daemon.stop_timeout(Duration::from_secs(seconds));
    }
    if let Some(Ok(seconds)) = settings.get("drain_timeout").map(str::parse) {
        daemon.drain_timeout(Duration::from_secs(seconds));
    }
    if let Some(Ok(bytes)) = settings.get("log_size").map(str::parse) {
        daemon.log_size(bytes);
    }
    if let Some(Ok(files)) = settings.get("log_keep").map(str::parse) {
        daemon.log_keep(files);
    }
    if settings.get("broken_configuration").is_some() {
        return Err("a comma is missing");
    }
    if settings.get("mode") == Some("foreground") {
        daemon.mode(Mode::Foreground);
    }
    if settings.get("waits").is_some() {
        daemon.already_running(AlreadyRunning::Wait);
    }
    if let Some(path) = settings.get("working_directory") {
        daemon.working_directory(path);
    }
    Ok(settings)
}

fn init(settings: Settings) -> Result<(Settings, Option<TcpListener>)> {
    match settings.get("worker") {
        Some("") if daemon_harness::fork()?.is_child() => loop {
            thread::park();
        },
        Some("") | None => {}
        Some(command) => drop(Command::new(command).arg("1000").spawn()?),
    }
    _ = shutdown();
    if let Some(gate) = settings.get("reloads") {
        let (reloads, gate) = (reloads(), gate.to_owned());
        let broken = settings.get("broken").map(str::to_owned);
        thread::spawn(move || {
            for reload in reloads {
                wait_at(&gate);
                if let Some(reason) = &broken {
                    reload.failed(reason.as_str());
                }
            }
        });
    }
    if let Some(path) = settings.get("hangup") {
        note_hangups(path.to_owned())?;
    }
    wait_at(settings.get("warm_up").unwrap_or_default());
    let any = || TcpListener::bind("127.0.0.1:0");
    let mut listener = None;
    if let Some(path) = settings.get("alone") {
        let before: Option<SocketAddr> = fs::read_to_string(path)
            .ok()
            .and_then(|text| text.parse().ok());
        listener = Some(noted(path, before.map_or_else(any, TcpListener::bind)?)?);
    }
    if let Some(path) = settings.get("listen") {
        // The other stays open, for as long as the process lives.
        std::mem::forget(listener.replace(noted(path, listener_or("main", any)?)?));
    }
    if settings.get("fail").is_some() {
        return Err("as it was told to".into());
    }
    if let Some(listener) = &listener {
        // Another instance may be faster to accept what poll(2) has seen.
        listener.set_nonblocking(settings.get("blocking").is_none())?;
    }
    Ok((settings, listener))
}

/// The listener, when its address is in the file.
fn noted(path: &str, listener: TcpListener) -> io::Result<TcpListener> {
    fs::write(path, listener.local_addr()?.to_string())?;
    Ok(listener)
}

/// Waits until the FIFO's other side has come and gone.
fn wait_at(gate: &str) {
    if !gate.is_empty() {
        _ = fs::read(gate);
    }
}

fn note_hangups(path: String) -> Result<()> {
    let hangup = SigSet::from(Signal::SIGHUP);
    hangup.thread_block()?;
    thread::spawn(move || {
        while hangup.wait().is_ok() {
            let noted = OpenOptions::new().create(true).append(true).open(&path);
            noted
                .and_then(|mut file| writeln!(file, "hung up"))
                .expect("a file to write to");
        }
    });
    Ok(())
}

/// Answers each request with the pid, until it is told to end; what it has accepted it answers.
fn serve(listener: &TcpListener) -> Result<()> {
    let mut requests = Vec::new();
    while !shutdown().requested() {
        let mut ready = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(shutdown().as_fd(), PollFlags::POLLIN),
        ];
        // A signal interrupts it; then nobody has come.
        _ = poll(&mut ready, PollTimeout::NONE);
        if let Ok((peer, _)) = listener.accept() {
            requests.push(thread::spawn(move || answer(&peer)));
            requests.retain(|request| !request.is_finished());
        }
    }
    for request in requests {
        request.join().expect("no panic")?;
    }
    Ok(())
}

fn answer(peer: &TcpStream) -> io::Result<()> {
    // What it accepts is blocking on Linux, whatever the listener is.
    let mut line = String::new();
    BufReader::new(peer).read_line(&mut line)?;
    writeln!(&*peer, "{}", std::process::id())
}
