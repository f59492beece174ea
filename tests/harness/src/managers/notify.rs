//! The test itself as a manager that listens at `NOTIFY_SOCKET`.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use crate::PATIENCE;

/// A socket as systemd's: each message is a datagram. Descriptors that come with one are closed
/// when it is read, so that a barrier is passed.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
}

impl NotifySocket {
    /// At a path.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self::of(UnixDatagram::bind(path).expect("a new socket"))
    }

    /// In the abstract name space, without the leading `@`.
    pub fn abstract_name(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        Self::of(UnixDatagram::bind_addr(&address).expect("a new name"))
    }

    fn of(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket }
    }

    /// The next message.
    pub fn next(&self) -> String {
        let mut message = vec![0; 65536];
        let length = self.socket.recv(&mut message).expect("a message in time");
        accepted(&message[..length])
    }

    /// The messages that have come and were not read yet.
    pub fn pending(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("fcntl");
        let mut message = vec![0; 65536];
        let pending = std::iter::from_fn(|| {
            self.socket
                .recv(&mut message)
                .ok()
                .map(|length| accepted(&message[..length]))
        });
        let pending = pending.collect();
        self.socket.set_nonblocking(false).expect("fcntl");
        pending
    }

    /// The messages up to the first with a line that starts like this; barriers are left out.
    pub fn until(&self, line: &str) -> Vec<String> {
        let mut messages = Vec::new();
        while !messages
            .last()
            .is_some_and(|last: &String| last.lines().any(|found| found.starts_with(line)))
        {
            messages.push(self.next());
        }
        messages.retain(|message| message != "BARRIER=1");
        messages
    }
}

/// A message that systemd takes: it ignores any other as a whole.
fn accepted(message: &[u8]) -> String {
    let text = String::from_utf8(message.to_vec()).expect("UTF-8");
    assert!(text.len() <= 4096, "{} bytes: {text}", text.len());
    assert!(!text.contains('\0'), "{text:?}");
    text
}
