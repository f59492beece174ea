//! Datagrams, 50,000 a second, while the service is restarted: each is counted by one instance.

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daemon_harness::{Scene, bin, require};
use daemon_tests::svc::free_address;

const RESTARTS: usize = 50;
/// So many in a millisecond.
const BURST: u32 = 50;

/// The service counts what `send` sends. Each number is what an instance has counted.
fn assert_none_is_lost(scene: &Scene, place: &str, send: impl Fn() -> io::Result<usize> + Sync) {
    let counts = scene.path("counts");
    let words = format!(
        "pidfile={} counts={} {place}",
        scene.pidfile().display(),
        counts.display()
    );
    let run = |command: &str| {
        let launch = scene.launch(bin("datagrams")).arg(command);
        launch.env("DATAGRAMS", &words).run().assert_exited(0);
    };
    run("start");
    let over = AtomicBool::new(false);
    let (total, took) = thread::scope(|scope| {
        let sender = scope.spawn(|| send_at_a_rate(&send, &over));
        for _ in 0..RESTARTS {
            run("restart");
        }
        over.store(true, Ordering::Relaxed);
        sender.join().expect("no panic")
    });
    run("stop");
    let counts = fs::read_to_string(&counts).expect("counts");
    let counted = counts
        .lines()
        .map(|line| line.parse::<u64>().expect("a number"));
    let counted: Vec<_> = counted.collect();
    assert_eq!(counted.len(), RESTARTS + 1, "instances");
    assert_eq!(counted.iter().sum::<u64>(), total, "{counted:?}");
    println!("{total} datagrams in {took:?}");
}

fn send_at_a_rate(send: impl Fn() -> io::Result<usize>, over: &AtomicBool) -> (u64, Duration) {
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
    (total, began.elapsed())
}

#[test]
fn no_datagram_is_lost_over_udp() {
    // The kernel drops what has no room: the receiver has a buffer that only root may have.
    require!(root());
    let scene = Scene::new();
    let address = free_address();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let send = || socket.send_to(b"a datagram", &address);
    assert_none_is_lost(&scene, &format!("udp={address}"), send);
}

#[test]
fn no_datagram_is_lost_over_a_unix_socket() {
    let scene = Scene::new();
    let path = scene.path("socket");
    let socket = UnixDatagram::unbound().expect("a socket");
    let send = || socket.send_to(b"a datagram", &path);
    assert_none_is_lost(&scene, &format!("unix={}", path.display()), send);
}
