//! Datagrams, 50,000 a second, and connections, as many as there can be, while the service is
//! restarted: each is counted by one instance.

use std::fs;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daemon_harness::{Scene, bin, require};
use daemon_tests::svc::free_address;

/// So many in a millisecond.
const BURST: u32 = 50;
const CLIENTS: usize = 4;

/// The service counts what `send` sends until it is over: as many as that returns. Each number is
/// what an instance has counted.
fn assert_none_is_lost(
    scene: &Scene,
    place: &str,
    restarts: usize,
    send: impl Fn(&AtomicBool) -> u64 + Sync,
) {
    let counts = scene.path("counts");
    let words = format!(
        "pidfile={} counts={} {place}",
        scene.pidfile().display(),
        counts.display()
    );
    let run = |command: &str| {
        let launch = scene.launch(bin("counting")).arg(command);
        launch.env("COUNTING", &words).run().assert_exited(0);
    };
    run("start");
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let total = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&over));
        let end = End(&over);
        for _ in 0..restarts {
            run("restart");
        }
        drop(end);
        sender.join().expect("no panic")
    });
    println!("{total} in {:?}", began.elapsed());
    run("stop");
    let counts = fs::read_to_string(&counts).expect("counts");
    let counted = counts
        .lines()
        .map(|line| line.parse::<u64>().expect("a number"));
    let counted: Vec<_> = counted.collect();
    assert_eq!(counted.len(), restarts + 1, "instances");
    assert_eq!(counted.iter().sum::<u64>(), total, "{counted:?}");
}

/// The sender ends with the restarts, also if one has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends 50,000 datagrams a second.
fn send_at_a_rate(send: impl Fn() -> io::Result<usize>, over: &AtomicBool) -> u64 {
    let (began, mut bursts, mut total) = (Instant::now(), 0, 0);
    while !over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            send().expect("it is sent");
            total += 1;
        }
        bursts += 1;
        let next = Duration::from_millis(bursts);
        thread::sleep(next.saturating_sub(began.elapsed()));
    }
    total
}

/// Connects, asks and reads the answer, again and again: how often.
fn ask_without_a_pause(path: &Path, over: &AtomicBool) -> u64 {
    let mut total = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let mut connection =
            UnixStream::connect(path).unwrap_or_else(|error| panic!("connection {total}: {error}"));
        let (request, mut answer) = (total.to_ne_bytes(), Vec::new());
        connection.write_all(&request).expect("it is read");
        connection.read_to_end(&mut answer).expect("an answer");
        assert_eq!(answer, request, "connection {total} is cut short");
        total += 1;
    }
    total
}

/// The path leads to one socket all the time.
fn watch_path(path: &Path, over: &AtomicBool) {
    let first = fs::symlink_metadata(path).expect("it listens");
    while !over.load(Ordering::Relaxed) {
        let now = fs::symlink_metadata(path).expect("it still listens");
        assert!(now.file_type().is_socket());
        assert_eq!((now.dev(), now.ino()), (first.dev(), first.ino()));
    }
}

#[test]
fn no_datagram_is_lost_over_udp() {
    // The kernel drops what has no room: the receiver has a buffer that only root may have.
    require!(root());
    let scene = Scene::new();
    let address = free_address();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let send = || socket.send_to(b"a datagram", &address);
    let place = format!("udp={address}");
    assert_none_is_lost(&scene, &place, 50, |over| send_at_a_rate(send, over));
}

#[test]
fn no_datagram_is_lost_over_a_unix_socket() {
    let scene = Scene::new();
    let path = scene.path("socket");
    let socket = UnixDatagram::unbound().expect("a socket");
    let send = || socket.send_to(b"a datagram", &path);
    let place = format!("unix={}", path.display());
    assert_none_is_lost(&scene, &place, 50, |over| send_at_a_rate(send, over));
}

#[test]
fn no_connection_is_lost_at_a_unix_socket_under_load() {
    let scene = Scene::new();
    let path = scene.path("socket");
    let clients = |over: &AtomicBool| {
        thread::scope(|scope| {
            scope.spawn(|| watch_path(&path, over));
            let client = || scope.spawn(|| ask_without_a_pause(&path, over));
            let clients: [_; CLIENTS] = std::array::from_fn(|_| client());
            let totals = clients.map(|client| client.join().expect("no panic"));
            totals.iter().sum()
        })
    };
    let place = format!("stream={}", path.display());
    assert_none_is_lost(&scene, &place, 100, clients);
}
