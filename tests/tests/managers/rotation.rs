//! logrotate, with the stanza of docs/logging.md and its variations.

use std::fs;

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{bin, require};

const LOG: &str = "/var/log/greeter.log";
const OLD: &str = "/var/log/greeter.log.1";

/// The stanza, for a service that runs as nobody.
fn stanza() -> String {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/logging.md"));
    let (_, rest) = page.split_once("```text\n").expect("a stanza");
    let (stanza, _) = rest.split_once("```").expect("its end");
    stanza.replace("greeter greeter", "nobody nogroup")
}

/// The same for a service that the manager of the log cannot tell to reload.
fn without_reload(stanza: &str) -> String {
    let (before, rest) = stanza.split_once("    postrotate\n").expect("a script");
    let (_, after) = rest.split_once("    endscript\n").expect("its end");
    format!("{before}{after}")
}

fn machine(stanza: &str) -> Machine {
    let root = Root::new()
        .copy("/usr/sbin/greeter", bin("ctl"))
        .copy("/usr/bin/svc", bin("svc"));
    Machine::boot(root.text("/etc/rotate", stanza))
}

fn read(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.path(path)).unwrap_or_default()
}

/// Rotates the log, with this in the environment of its script.
#[track_caller]
fn rotate(machine: &Machine, environment: &str) {
    let rotate = "logrotate --force --state /tmp/state /etc/rotate";
    machine
        .sh(&format!("{environment} {rotate}"))
        .expect_success();
}

/// A service that says a line after each reload has the line in the new file.
fn a_reload_opens_the_log_again(stanza: &str, user: &str) {
    let machine = machine(stanza);
    let environment = format!(
        "CTL='pidfile=/run/greeter.pid stdout={LOG} stderr={LOG} reloads= broken=why {user}'"
    );
    machine
        .sh(&format!("{environment} greeter start"))
        .expect_success();
    machine.sh(&format!("echo before >>{LOG}")).expect_success();
    for before in ["before\n", "greeter: cannot reload: why\n"] {
        rotate(&machine, &environment);
        assert_eq!(read(&machine, OLD), before);
        assert_eq!(read(&machine, LOG), "greeter: cannot reload: why\n");
    }
}

#[test]
fn logrotate_that_creates_the_file_for_the_services_user() {
    require!(machine(), tool("logrotate"));
    a_reload_opens_the_log_again(&stanza(), "user=nobody");
}

#[test]
fn logrotate_that_leaves_the_file_to_a_service_of_roots() {
    require!(machine(), tool("logrotate"));
    let nocreate = stanza().replace("create 0640 nobody nogroup", "nocreate");
    a_reload_opens_the_log_again(&nocreate, "");
}

/// No one tells the service, nor the child that writes for it.
#[test]
fn logrotate_that_truncates_the_file() {
    require!(machine(), tool("logrotate"));
    let stanza = without_reload(&stanza()).replace("create 0640 nobody nogroup", "copytruncate");
    let machine = machine(&stanza);
    let child = "while read -r line; do echo $line; done <>/run/lines";
    let start = format!("svc user=nobody stdout={LOG} 'privileged_init:spawn={child}'");
    machine
        .sh(&format!("mkfifo /run/lines; {start}"))
        .expect_success();
    let say = |line: &str| {
        machine
            .sh(&format!("echo {line} >/run/lines"))
            .expect_success();
        wait_until(line, || {
            read(&machine, LOG)
                .ends_with(&format!("{line}\n"))
                .then_some(())
        });
    };
    say("one");
    rotate(&machine, "");
    assert_eq!(
        (read(&machine, OLD), read(&machine, LOG)),
        ("one\n".to_owned(), String::new())
    );
    say("two");
    assert_eq!(read(&machine, LOG), "two\n");
}
