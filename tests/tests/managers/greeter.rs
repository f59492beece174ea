//! What the tests with real managers share: the service `greeter`, the files of
//! `examples/managers`, and a client.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use daemon_harness::managers::{Machine, Root, Systemd, wait_until};
use daemon_harness::{PATIENCE, bin};

/// The text of a file of `examples/managers`.
macro_rules! example {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/managers/",
            $path
        ))
    };
}

/// Where the examples have the service listen.
pub(crate) const ADDRESS: &str = "127.0.0.1:7007";

/// This machine, with the service where the examples have it.
pub(crate) fn root() -> Root {
    with_greeter(Root::new())
}

/// A root with the service where the examples have it.
pub(crate) fn with_greeter(root: Root) -> Root {
    root.copy("/usr/local/bin/greeter", bin("greeter"))
        .copy("/usr/local/bin/svc", bin("svc"))
}

/// A machine under systemd with this text as `greeter.service`.
pub(crate) fn systemd(unit: &str) -> Systemd {
    Systemd::boot(root().text("/etc/systemd/system/greeter.service", unit))
}

/// A connection to the service.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects at once, or fails the test.
    pub(crate) fn connect(machine: &Machine) -> Self {
        let stream = machine.connect(ADDRESS).expect("the service listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// Says a name, and hears the greeting; the empty string at the end of the connection.
    pub(crate) fn greeting(&mut self, name: &str) -> String {
        self.say(name);
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    /// Says something, and does not listen.
    pub(crate) fn say(&mut self, name: &str) {
        self.0
            .get_mut()
            .write_all(name.as_bytes())
            .expect("a connection");
    }
}

/// Fails unless the service greets, at once.
#[track_caller]
pub(crate) fn assert_greets(machine: &Machine) {
    assert_eq!(Client::connect(machine).greeting("world"), "hello world");
}

/// Waits until the service greets: for managers that do not know when it is ready.
pub(crate) fn wait_until_it_greets(machine: &Machine) {
    wait_until("the service to listen", || machine.connect(ADDRESS).ok());
    assert_greets(machine);
}

/// A value of `/proc/PID/status` inside.
pub(crate) fn status_of(machine: &Machine, pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(machine.path(format!("/proc/{pid}/status")))
        .expect("a living process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"))
        .expect("a field");
    line.to_owned()
}

/// The one living process of the service, by its id inside.
pub(crate) fn greeter(machine: &Machine) -> u32 {
    let pids = machine.pids("greeter");
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0]
}
