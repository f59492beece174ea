//! `examples/timeserver`: a UDP service.

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemon_harness::managers::{Machine, wait_until};
use daemon_harness::require;

use super::{identity, machine_with};

/// A client of the service in the machine, with its question asked.
fn ask(machine: &Machine) -> UdpSocket {
    machine.on_its_network(|| {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let limit = Some(Duration::from_mins(1));
        client.set_read_timeout(limit).expect("a limit");
        client.send_to(b"", "127.0.0.1:37").expect("to be sent");
        client
    })
}

fn answer(client: &UdpSocket) -> u64 {
    let mut answer = [0; 8];
    let length = client.recv(&mut answer[4..]).expect("an answer");
    assert_eq!(length, 4);
    u64::from_be_bytes(answer)
}

/// The seconds since 1900, of which the answer is the last 32 bits.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.expect("after 1970").as_secs() + 2_208_988_800) & 0xffff_ffff
}

#[test]
fn timeserver_tells_the_time_and_answers_who_has_asked_before_it_ends() {
    require!(machine());
    let machine = machine_with("timeserver");
    machine.run(["timeserver"]).expect_success();
    let nobody = machine.run(["id", "-u", "nobody"]).expect_success();
    assert_eq!(
        identity(&machine, "/run/timeserver.pid"),
        (nobody, "0".repeat(16))
    );
    let (before, told) = (now(), answer(&ask(&machine)));
    assert!(before <= told && told <= now(), "{before}: {told}");

    // While it is stopped, a question arrives, and then the request to end.
    let kill = |signal| {
        let kill = format!("kill -{signal} \"$(cat /run/timeserver.pid)\"");
        machine.sh(&kill).expect_success();
    };
    kill("STOP");
    let client = ask(&machine);
    kill("TERM");
    kill("CONT");
    assert!(before <= answer(&client));
    wait_until("its end", || {
        machine.pids("timeserver").is_empty().then_some(())
    });

    let refused = machine.run(["timeserver", "clock"]);
    assert!(
        refused.status == 78 && refused.stderr.contains("port clock: invalid digit"),
        "{refused}"
    );
}
