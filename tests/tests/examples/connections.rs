//! Ten thousand open connections over a restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use daemon_harness::managers::{Machine, wait_until};
use daemon_harness::require;
use nix::sys::resource::{Resource, setrlimit};

use crate::load::root_with;
use crate::text;

/// Each client has its next answer from the old instance, with the word that it was the last one, and
/// comes back to the new one.
/// (`cargo nextest run -p daemon-tests --run-ignored only ten_thousand`)
#[test]
#[ignore = "wants 10,000 descriptors, and a machine that is not overloaded"]
fn ten_thousand_connections_outlive_a_restart() {
    const CLIENTS: u32 = 10_000;
    require!(machine());
    // It has 32 bits on some processors.
    let limit = libc::rlim_t::from(CLIENTS + 1000);
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).expect("root may");
    let machine = Machine::boot(root_with("hyper-server"));
    let run = |command: &str| {
        machine
            .sh(&format!("ulimit -n {limit}; exec hyper-server {command}"))
            .expect_success()
    };
    run("start");
    machine.on_its_network(|| {
        let connect = || TcpStream::connect("127.0.0.1:7788").expect("it waits in the queue");
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let client = connect();
            assert!(!ask(&client).contains("connection: close"));
            clients.push(client);
        }
        let old = text(machine.path("/run/hyper-server.pid"));
        thread::scope(|scope| {
            let began = Instant::now();
            let restart = scope.spawn(|| run("restart"));
            wait_until("the new instance", || {
                let named = text(machine.path("/run/hyper-server.pid"));
                (named != old).then_some(())
            });
            // The old one is told a moment later.
            wait_until("the last answer on a connection", || {
                ask(&clients[0]).contains("connection: close").then_some(())
            });
            for client in &clients[1..] {
                assert!(ask(client).contains("connection: close"));
            }
            restart.join().expect("no panic");
            println!("{CLIENTS} connections: {:?}", began.elapsed());
        });
        assert!(!ask(&connect()).contains("connection: close"));
    });
    run("stop");
}

/// A request on a connection that is kept.
fn ask(mut connection: &TcpStream) -> String {
    connection
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("it is open");
    let (mut answer, mut bytes) = (String::new(), [0; 256]);
    while !answer.ends_with("hello\n") {
        let length = connection.read(&mut bytes).expect("an answer");
        assert_ne!(length, 0, "cut short: {answer:?}");
        answer.push_str(std::str::from_utf8(&bytes[..length]).expect("a text"));
    }
    answer.to_lowercase()
}
