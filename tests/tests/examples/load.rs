//! Servers that are restarted a hundred times while clients ask as fast as they can: 64 or 1,000 of them,
//! on kept connections and on new ones. No request may fail. In a machine, whose ports no other test wants.
//!
//! With musl webapp alone: the others have no C of their own, and would be built once more.

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{bin, require};
use daemon_tests::built::{example, example_in};

use crate::text;

const RESTARTS: usize = 100;
const LOAD: &str = "/run/load";

/// A machine with the server and the client for gRPC.
fn machine_with(server: &str) -> Machine {
    let program = match server {
        "webapp" => example(server),
        _ => example_in("frameworks", server),
    };
    Machine::boot(
        Root::new()
            .copy(format!("/usr/bin/{server}"), program)
            .copy("/usr/bin/grpc_load", bin("grpc_load"))
            .empty("/var/log"),
    )
}

/// Restarts the server under this load, which says what has failed when it is told to end.
fn assert_loses_no_request(server: &str, load: &str, end: &str) {
    let machine = machine_with(server);
    machine
        .sh(&format!("ulimit -n 4096; {server} start"))
        .expect_success();
    let began = machine.sh(&format!("ulimit -n 4096; {load} >{LOAD} 2>&1 & echo $!"));
    let client = began.expect_success();
    let client = client.trim();
    for _ in 0..RESTARTS {
        machine
            .sh(&format!("ulimit -n 4096; exec {server} restart --quiet"))
            .expect_success();
    }
    // If it has ended already, it says why.
    _ = machine.sh(&format!("kill -{end} {client}"));
    let said = || text(machine.path(LOAD));
    wait_until("the clients to end", || {
        said().contains("requests in").then_some(())
    });
    machine.run([server, "stop"]).expect_success();
    let said = said();
    assert!(
        !said.contains("errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let network = machine.run(["cat", "/proc/net/netstat"]).expect_success();
    assert_eq!(
        counter(&network, "ListenOverflows"),
        0,
        "clients had to try again: {said}"
    );
}

/// wrk(1) with so many clients.
fn wrk(server: &str, clients: usize, connection: &str) {
    let port = if server == "webapp" { 80 } else { 7788 };
    let load = format!(
        "wrk -c {clients} -t 1 -d 600 --timeout 60s -H 'Connection: {connection}' http://127.0.0.1:{port}/"
    );
    assert_loses_no_request(server, &load, "INT");
}

/// A line of names and one of numbers.
fn counter(network: &str, name: &str) -> u64 {
    let mut lines = network.lines().map(str::split_whitespace);
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let (_, number) = names
        .zip(numbers)
        .find(|(named, _)| *named == name)
        .expect("a counter");
    number.parse().expect("a number")
}

#[test]
fn webapp_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("webapp", 64, "keep-alive");
    wrk("webapp", 64, "close");
}

#[test]
#[cfg(not(target_env = "musl"))]
fn webapp_is_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("webapp", 1000, "keep-alive");
    wrk("webapp", 1000, "close");
}

#[test]
#[cfg(not(target_env = "musl"))]
fn hyper_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("hyper-server", 64, "keep-alive");
    wrk("hyper-server", 64, "close");
}

#[test]
#[cfg(not(target_env = "musl"))]
fn actix_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("actix-server", 64, "keep-alive");
    wrk("actix-server", 64, "close");
}

#[test]
#[cfg(not(target_env = "musl"))]
fn threads_are_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("thread-server", 64, "keep-alive");
    wrk("thread-server", 64, "close");
}

#[test]
#[cfg(not(target_env = "musl"))]
fn tonic_is_restarted_under_load_without_an_error() {
    require!(machine());
    for connections in ["kept", "new"] {
        let load = format!("grpc_load {connections} 127.0.0.1:7788");
        assert_loses_no_request("tonic-server", &load, "TERM");
    }
}
