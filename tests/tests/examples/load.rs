//! Servers that are restarted a hundred times while clients ask as fast as they can: 64 or 1,000 of them,
//! on kept connections and on new ones. No request may fail. In a machine, whose ports no other test wants.
//!
//! With musl webapp alone: the others have no C of their own, and would be built once more.

use daemon_harness::managers::{Machine, Root, Systemd, wait_until};
use daemon_harness::{bin, require};
use daemon_tests::built::{example, example_in};

use crate::text;

const RESTARTS: usize = 100;
/// systemd takes longer.
const BY_SYSTEMD: usize = 25;
/// The header of a client that keeps its connection, and of one that opens another each time.
const CONNECTIONS: [&str; 2] = ["keep-alive", "close"];
const LOAD: &str = "/run/load";

/// What a machine has: the server, and the client for gRPC.
pub(crate) fn root_with(server: &str) -> Root {
    let program = match server {
        "webapp" | "forwarder" => example(server),
        _ => example_in("frameworks", server),
    };
    Root::new()
        .copy(format!("/usr/bin/{server}"), program)
        .copy("/usr/bin/grpc_load", bin("grpc_load"))
        .empty("/var/log")
}

/// Restarts the server by its own command.
fn assert_restart_loses_no_request(server: &str, load: &str, end: &str) {
    let machine = Machine::boot(root_with(server));
    let run = |command: &str| {
        machine
            .sh(&format!("ulimit -n 4096; exec {server} {command}"))
            .expect_success()
    };
    run("start");
    assert_loses_no_request(&machine, load, end, || {
        for _ in 0..RESTARTS {
            run("restart --quiet");
        }
    });
    run("stop");
}

/// Has the server restarted under this load, which says what has failed when it is told to end.
fn assert_loses_no_request(machine: &Machine, load: &str, end: &str, restarts: impl Fn()) {
    let began = machine.sh(&format!("ulimit -n 4096; {load} >{LOAD} 2>&1 & echo $!"));
    let client = began.expect_success();
    let client = client.trim();
    restarts();
    // If it has ended already, it says why.
    _ = machine.sh(&format!("kill -{end} {client}"));
    let said = || text(machine.path(LOAD));
    wait_until("the clients to end", || {
        said().contains("requests in").then_some(())
    });
    let said = said();
    assert!(
        !said.contains("errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let network = machine.run(["cat", "/proc/net/netstat"]).expect_success();
    let dropped = counter(&network, "ListenOverflows");
    assert_eq!(dropped, 0, "clients had to try again: {said}");
    println!("{load}:\n{said}");
}

/// wrk(1) with so many clients.
fn wrk(server: &str, clients: usize) {
    let port = if server == "webapp" { 80 } else { 7788 };
    for connection in CONNECTIONS {
        assert_restart_loses_no_request(server, &wrk_at(port, clients, connection), "INT");
    }
}

/// The same for gRPC.
#[cfg(not(target_env = "musl"))]
fn grpc(server: &str, clients: usize) {
    for connections in ["kept", "new"] {
        let load = format!("grpc_load {connections} {clients} 127.0.0.1:7788");
        assert_restart_loses_no_request(server, &load, "TERM");
    }
}

fn wrk_at(port: u16, clients: usize, connection: &str) -> String {
    format!(
        "wrk -c {clients} -t 1 -d 600 --timeout 60s -H 'Connection: {connection}' http://127.0.0.1:{port}/"
    )
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
    wrk("webapp", 64);
}

#[test]
#[cfg(not(target_env = "musl"))]
fn webapp_is_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("webapp", 1000);
}

#[test]
#[cfg(not(target_env = "musl"))]
fn hyper_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("hyper-server", 64);
}

#[test]
#[cfg(not(target_env = "musl"))]
fn actix_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("actix-server", 64);
}

#[test]
#[cfg(not(target_env = "musl"))]
fn threads_are_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("thread-server", 64);
}

#[test]
#[cfg(not(target_env = "musl"))]
fn tonic_is_restarted_under_load_without_an_error() {
    require!(machine());
    grpc("tonic-server", 64);
}

/// Clients that are forwarded have no word for the last answer on a connection: each opens a new one.
#[test]
#[cfg(not(target_env = "musl"))]
fn forwarder_is_restarted_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    let root = root_with("forwarder").copy(
        "/usr/bin/thread-server",
        example_in("frameworks", "thread-server"),
    );
    let machine = Machine::boot(root);
    let config = r#"listen = "127.0.0.1:80"\ntarget = "127.0.0.1:7788"\n"#;
    let written = machine.sh(&format!("printf '{config}' >/etc/forwarder.toml"));
    written.expect_success();
    for server in ["thread-server", "forwarder"] {
        machine.run([server, "start"]).expect_success();
    }
    assert_loses_no_request(&machine, &wrk_at(80, 64, "close"), "INT", || {
        for _ in 0..RESTARTS {
            machine
                .run(["forwarder", "restart", "--quiet"])
                .expect_success();
        }
    });
    for server in ["forwarder", "thread-server"] {
        machine.run([server, "stop"]).expect_success();
    }
}

/// (These by `cargo nextest run -p daemon-tests --run-ignored only --no-capture thousand_clients`.)
#[test]
#[cfg(not(target_env = "musl"))]
#[ignore = "takes half a minute, as do the next"]
fn hyper_is_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("hyper-server", 1000);
}

#[test]
#[cfg(not(target_env = "musl"))]
#[ignore = "takes long"]
fn actix_is_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("actix-server", 1000);
}

#[test]
#[cfg(not(target_env = "musl"))]
#[ignore = "takes long"]
fn threads_are_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine(), tool("wrk"));
    wrk("thread-server", 1000);
}

#[test]
#[cfg(not(target_env = "musl"))]
#[ignore = "takes long"]
fn tonic_is_restarted_under_the_load_of_a_thousand_clients_without_an_error() {
    require!(machine());
    grpc("tonic-server", 1000);
}

/// By systemd's own command. What keeps the socket between the instances is systemd: as the service
/// has asked it to, or because it has opened it. The binary is replaced each time, as by an upgrade.
#[test]
fn webapp_is_restarted_by_systemd_under_load_without_an_error() {
    require!(machine(), tool("wrk"));
    for units in [
        "webapp unit systemd >webapp.service",
        "webapp unit --listen http=127.0.0.1:80 systemd | sh -s .",
    ] {
        let machine = Systemd::boot(root_with("webapp"));
        // No limit on restarts.
        let commands = format!(
            "cd /etc/systemd/system && {units} && mkdir webapp.service.d &&
            printf '[Unit]\\nStartLimitIntervalSec=0\\n' >webapp.service.d/often.conf &&
            systemctl daemon-reload && systemctl start webapp"
        );
        machine.sh(&commands).expect_success();
        for connection in CONNECTIONS {
            assert_loses_no_request(&machine, &wrk_at(80, 64, connection), "INT", || {
                for _ in 0..BY_SYSTEMD {
                    machine
                    .sh("cp /usr/bin/webapp /run/new && mv /run/new /usr/bin/webapp && exec systemctl restart webapp")
                    .expect_success();
                }
            });
        }
    }
}
