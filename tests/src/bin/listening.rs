//! A service that takes its sockets from the library, by name, and answers whoever connects with
//! the socket's name and its own pid. Its settings come by the environment: `LISTENING` holds
//! words, with spaces between.
//!
//! - `pidfile=PATH`, `user=NAME`: settings
//! - `NAME=tcp:ADDRESS`, `NAME=unix:PATH`, `NAME=udp:ADDRESS`: `listen` by this name, in the order
//!   of the words
//! - `NAME=or:ADDRESS`: `listener_or` by this name
//! - `many=COUNT`: so many sockets of one name
//! - `named=COUNT`: so many by `listener_or`, from the last, `named-COUNT` less one, to `named-0`
//! - `places=FILE`: where it listens, a line each
//! - `late`: it asks for them in `main`, when it is ready
//! - `hang`: it does not end, and goes on answering
//! - `removes=PATH`: at its end it removes a file, unless it was replaced
//! - `closes=FILE`: `init` closes descriptor 4, opens this file in its place, and writes to it at
//!   the end
//! - `ended=FILE`: at its end it writes whether it was replaced

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;
use std::thread;

use daemon_rt::{Daemon, daemon, listen, listener_or, shutdown};
use daemon_tests::Settings;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

static IN_PLACE: OnceLock<File> = OnceLock::new();

#[daemon(cli, configure = configure, init = init, umask = 0o022)]
fn main(settings: Settings) -> Result<()> {
    if settings.get("late").is_some() {
        open(&settings)?;
    }
    shutdown().wait();
    while settings.get("hang").is_some() {
        thread::park();
    }
    if let Some(mut file) = IN_PLACE.get() {
        file.write_all(b"still there")?;
    }
    let replaced = shutdown().replaced();
    if let Some(path) = settings.get("removes").filter(|_| !replaced) {
        fs::remove_file(path)?;
    }
    if let Some(path) = settings.get("ended") {
        fs::write(path, replaced.to_string())?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> std::result::Result<Settings, Infallible> {
    Ok(Settings::of_variable("LISTENING", daemon))
}

fn init(settings: Settings) -> Result<Settings> {
    _ = shutdown();
    if settings.get("late").is_none() {
        open(&settings)?;
    }
    if let Some(path) = settings.get("closes") {
        nix::unistd::close(4)?;
        _ = IN_PLACE.set(File::create(path)?);
    }
    Ok(settings)
}

fn open(settings: &Settings) -> Result<()> {
    let mut places = String::new();
    for (name, value) in settings.all() {
        match value.split_once(':') {
            Some(("tcp", address)) => places += &answer_tcp(name, listen(name, address)?)?,
            Some(("or", address)) => {
                places += &answer_tcp(name, listener_or(name, || TcpListener::bind(address))?)?;
            }
            Some(("udp", address)) => {
                let socket = listen::<UdpSocket>(name, address)?;
                writeln!(places, "{name} {}", socket.local_addr()?)?;
                std::mem::forget(socket);
            }
            Some(("unix", path)) => {
                answer_unix(name, listen(name, path)?);
                writeln!(places, "{name} {path}")?;
            }
            _ => {}
        }
    }
    for _ in 0..settings.get("many").map_or(Ok(0), str::parse)? {
        let socket = listen::<TcpListener>("many", "127.0.0.1:0")?;
        writeln!(places, "many {}", socket.local_addr()?)?;
        std::mem::forget(socket);
    }
    for number in (0..settings.get("named").map_or(Ok(0), str::parse)?).rev() {
        let name = format!("named-{number}");
        let socket = listener_or(&name, || TcpListener::bind("127.0.0.1:0"))?;
        writeln!(places, "{name} {}", socket.local_addr()?)?;
        std::mem::forget(socket);
    }
    if let Some(path) = settings.get("places") {
        fs::write(path, places)?;
    }
    Ok(())
}

/// Answers in a thread; where it listens.
fn answer_tcp(name: &str, listener: TcpListener) -> Result<String> {
    let place = format!("{name} {}\n", listener.local_addr()?);
    let name = name.to_owned();
    thread::spawn(move || while listener.accept().is_ok_and(|(peer, _)| tell(&name, peer)) {});
    Ok(place)
}

fn answer_unix(name: &str, listener: UnixListener) {
    let name = name.to_owned();
    thread::spawn(move || while listener.accept().is_ok_and(|(peer, _)| tell(&name, peer)) {});
}

fn tell(name: &str, mut peer: impl Write) -> bool {
    _ = writeln!(peer, "{name} {}", std::process::id());
    true
}
