//! A service manager, as far as it listens.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use daemon_harness::managers::NotifySocket;
use daemon_harness::{Launch, Scene};

/// What the manager says to itself.
const OVER: &str = "OVER";
/// The number of the readiness descriptor.
const FD: i32 = 5;

/// A manager that listens both at `NOTIFY_SOCKET` and behind `DAEMON_NOTIFY_FD`.
pub(crate) struct Manager {
    path: PathBuf,
    file: PathBuf,
    messages: JoinHandle<Vec<String>>,
}

/// What a manager has heard.
#[derive(Debug)]
pub(crate) struct Heard {
    /// At the socket, but for barriers.
    pub(crate) messages: Vec<String>,
    /// What was written to the descriptor.
    pub(crate) written: String,
}

impl Manager {
    pub(crate) fn new(scene: &Scene) -> Self {
        let path = scene.path("notify");
        let socket = NotifySocket::at(&path);
        // In a thread, as whoever sends a barrier waits until it is read.
        let messages = thread::spawn(move || socket.until(OVER));
        Self {
            path,
            file: scene.file("notified", ""),
            messages,
        }
    }

    /// The start as this manager makes it.
    pub(crate) fn named_in<'s>(&self, launch: Launch<'s>) -> Launch<'s> {
        launch
            .env("NOTIFY_SOCKET", &self.path)
            .env("DAEMON_NOTIFY_FD", FD.to_string())
            .descriptor(FD, &self.file)
    }

    /// All that it has heard until now.
    pub(crate) fn heard(self) -> Heard {
        let over =
            UnixDatagram::unbound().and_then(|socket| socket.send_to(OVER.as_bytes(), &self.path));
        over.expect("its own socket");
        let mut messages = self.messages.join().expect("a manager that listens");
        messages.pop();
        Heard {
            messages,
            written: fs::read_to_string(self.file).expect("the file behind the descriptor"),
        }
    }
}
