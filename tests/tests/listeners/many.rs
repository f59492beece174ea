//! E3: more sockets than a message carries; many connections on one.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use daemon_harness::managers::{Machine, Root};
use daemon_harness::{Scene, bin, errno_text, require};

use crate::Listening;

/// Where it listens with all of them.
fn addresses(scene: &Scene) -> BTreeSet<String> {
    let text = fs::read_to_string(scene.path("places")).expect("places");
    text.lines()
        .filter_map(|line| line.strip_prefix("many "))
        .map(str::to_owned)
        .collect()
}

/// 253 descriptors fit into a message, of which one is the pidfile's.
#[test]
fn e3_any_number_of_sockets_is_handed_over() {
    for count in [1, 251, 252, 253, 254, 260, 505, 506, 1000] {
        let scene = Scene::new();
        let service = Listening::new(&scene).with(format!("many={count}"));
        let command = |line: &str| service.limited(line, 4096).run();
        command("start").assert_ready();
        let (old, before) = (service.owner(), addresses(&scene));
        assert_eq!(before.len(), count);
        command("restart").assert_ready();
        assert_eq!(addresses(&scene), before, "{count} sockets");
        assert_ne!(service.owner().pid(), old.pid());
        assert!(old.is_gone());
        for address in &before {
            TcpStream::connect(address)
                .unwrap_or_else(|error| panic!("{address} of {count}: {error}"));
        }
    }
}

/// The restarter, or the new instance, has too few descriptors for what the old one has: that goes
/// on.
#[test]
fn e3_a_limit_that_is_too_low_is_said_and_the_old_one_goes_on() {
    let scene = Scene::new();
    let service = Listening::new(&scene).with("many=300");
    let limited = |line: &str, limit| service.limited(line, limit).run();
    limited("start", 4096).assert_ready();
    let (old, before) = (service.owner(), addresses(&scene));
    limited("restart", 200)
        .assert_exited(1)
        .assert_says(&["the limit on open files (200)", "300 sockets"]);
    limited("restart", 290)
        .assert_exited(1)
        .assert_says(&["the limit on open files (290)", "300 sockets"]);
    limited("restart", 400)
        .assert_exited(1)
        .assert_says(&["many", &errno_text(libc::EMFILE)]);
    assert_eq!(
        (service.owner().pid(), scene.daemon().pid()),
        (old.pid(), old.pid())
    );
    for address in &before {
        TcpStream::connect(address).expect("it goes on listening");
    }
    limited("restart", 4096).assert_ready();
    assert_eq!(addresses(&scene), before);
}

/// The new instance fails when it has them all.
#[test]
fn e3_if_the_new_one_fails_the_old_one_goes_on_with_all_of_them() {
    let scene = Scene::new();
    let old = Listening::new(&scene).with("many=260");
    old.start();
    let before = addresses(&scene);
    let blocker = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = blocker.local_addr().expect("bound");
    old.with(format!("more=tcp:{taken}"))
        .run("restart")
        .assert_exited(1);
    for address in &before {
        TcpStream::connect(address).expect("it goes on listening");
    }
    old.restart();
    assert_eq!(addresses(&scene), before);
}

/// Of those that come while no instance accepts, the kernel drops none: a client would try again a
/// second later.
#[test]
fn more_connections_wait_than_the_128_of_std() {
    let scene = Scene::new();
    let service = Listening::new(&scene).with("many=1");
    service.start();
    let address = addresses(&scene).pop_first().expect("a socket");
    let address = address.parse().expect("an address");
    let allowed = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux");
    let allowed: usize = allowed.trim().parse().expect("a number");
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(20));
    let waiting: Result<Vec<_>, _> = (0..allowed.min(500)).map(|_| connect()).collect();
    waiting.expect("it waits, and is not dropped");
}

/// (`cargo nextest run -p daemon-tests --run-ignored only thousand_services --no-capture`)
#[test]
#[ignore = "a machine that does something else has no time for it"]
fn a_thousand_services_start_and_stop_at_once() {
    const SERVICES: usize = 1000;
    require!(machine());
    let machine = Machine::boot(Root::new().copy("/usr/bin/listening", bin("listening")));
    let all = |command: &str| {
        let began = Instant::now();
        let script = format!(
            "i=0; while [ $i -lt {SERVICES} ]; do
                i=$((i + 1)); LISTENING=pidfile=/run/$i.pid listening {command} --quiet &
            done; wait"
        );
        let said = machine.sh(&script);
        assert_eq!(said.stderr, "");
        println!("{command}: {SERVICES} services in {:?}", began.elapsed());
        machine.pids("listening").len()
    };
    assert_eq!(all("start"), SERVICES);
    assert_eq!(all("stop"), 0);
}
