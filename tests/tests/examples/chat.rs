//! `examples/chat`: a service on smol.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use daemon_harness::managers::{Machine, wait_until};
use daemon_harness::require;

use super::machine_with;

struct Member(BufReader<TcpStream>);

impl Member {
    fn enter(machine: &Machine) -> Self {
        let stream = machine.connect("127.0.0.1:7777").expect("the room");
        let limit = Some(Duration::from_mins(1));
        stream.set_read_timeout(limit).expect("a limit");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, line: &str) {
        let stream = self.0.get_mut();
        stream.write_all(line.as_bytes()).expect("to be heard");
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line
    }
}

#[test]
fn chat_tells_everyone_what_one_says_and_that_it_ends() {
    require!(machine());
    let machine = machine_with("chat");
    machine.run(["chat", "start"]).expect_success();
    let mut first = Member::enter(&machine);
    first.say("hello\n");
    assert_eq!(first.hears(), "hello\n");
    let mut second = Member::enter(&machine);
    second.say("hello, too\n");
    for member in [&mut first, &mut second] {
        assert_eq!(member.hears(), "hello, too\n");
    }
    drop(first);
    second.say("gone?\n");
    assert_eq!(second.hears(), "gone?\n");

    machine.run(["chat", "stop"]).expect_success();
    assert_eq!(second.hears(), "The room is closed.\n");
    assert_eq!(second.hears(), "");
}

#[test]
fn chat_goes_on_after_a_crowd() {
    require!(machine());
    let machine = machine_with("chat");
    machine.sh("ulimit -n 64 && chat start").expect_success();
    let crowd: Vec<Member> = (0..100).map(|_| Member::enter(&machine)).collect();
    let last = "test -e /proc/$(cat /run/chat.pid)/fd/63";
    wait_until("the last descriptor to be in use", || {
        (machine.sh(last).status == 0).then_some(())
    });
    drop(crowd);
    let mut member = Member::enter(&machine);
    member.say("hello\n");
    assert_eq!(member.hears(), "hello\n");
    machine.run(["chat", "stop"]).expect_success();
}
