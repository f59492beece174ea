//! The journal as a service's log: systemd's own, and a socket in its place that shows the bytes.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use daemon_harness::managers::{Machine, Root, Systemd, wait_until};
use daemon_harness::{bin, require};
use serde_json::Value;

const START: &str = "svc name=greeter pidfile=/run/greeter.pid stdout=journal stderr=journal";

fn root() -> Root {
    Root::new().copy("/usr/bin/svc", bin("svc"))
}

/// The messages with the service's name: what each says, and how severe it is.
fn messages(machine: &Systemd) -> Vec<(String, String)> {
    machine.run(["journalctl", "--sync"]).expect_success();
    let lines = machine.sh("journalctl -t greeter -o json").expect_success();
    let of_line = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let member = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (member("MESSAGE"), member("PRIORITY"))
    };
    lines.lines().map(of_line).collect()
}

#[test]
fn the_last_words_of_a_service_that_crashes_are_in_the_journal() {
    require!(machine());
    let machine = Systemd::boot(root());
    let script = format!(
        "{START} user=nobody init:print='out\n' init:eprintln='<4>a warning' \
         init:expect_shutdown main:shutdown main:eprintln='last words' main:abort"
    );
    start_and_end(&machine, &script);
    let said = messages(&machine);
    let expected = [("out", "6"), ("a warning", "4"), ("last words", "6")];
    let expected = expected.map(|(text, severity)| (text.to_owned(), severity.to_owned()));
    assert_eq!(said, expected);
}

/// As under systemd, the library's own messages have their severity.
#[test]
fn a_message_of_the_library_is_an_error() {
    require!(machine());
    let machine = Systemd::boot(root());
    let script = format!("{START} init:expect_shutdown main:shutdown main:err='no more disk'");
    start_and_end(&machine, &script);
    let said = messages(&machine);
    let [(text, severity)] = &said[..] else {
        panic!("{said:?}")
    };
    assert!(
        text.ends_with("no more disk") && severity == "3",
        "{said:?}"
    );
}

/// Starts the service, has it end, and waits until it has.
fn start_and_end(machine: &Machine, script: &str) {
    machine.sh(script).expect_success();
    let pid = machine.wait_for_text("/run/greeter.pid");
    machine.sh(&format!("kill {pid}")).expect_success();
    wait_until("the end of the service", || {
        machine.pids("svc").is_empty().then_some(())
    });
}

/// Waits until `logs` and `status` of the service `ctl` show this line: `status` does not wait long for
/// the journal.
fn wait_until_shown(machine: &Systemd, environment: &str, line: &str) {
    machine.run(["journalctl", "--sync"]).expect_success();
    wait_until(line, || {
        let logs = machine.sh(&format!("{environment} ctl logs"));
        let status = machine.sh(&format!("{environment} ctl status --json"));
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        let is_shown = logs.stdout.contains(line) && status["lines"].to_string().contains(line);
        (is_shown && status["log"] == "journal").then_some(())
    });
}

#[test]
fn logs_and_status_show_what_a_unit_has_said() {
    require!(machine());
    let unit = "[Service]\nType=notify\nEnvironment='CTL=pidfile=/run/ctl.pid reloads= broken=why'\n\
                ExecStart=/usr/bin/ctl\nExecReload=kill -HUP $MAINPID\n";
    let root = Root::new().copy("/usr/bin/ctl", bin("ctl"));
    let machine = Systemd::boot(root.text("/etc/systemd/system/x.service", unit));
    machine.systemctl(["start", "x"]).expect_success();
    let pid = machine.main_pid("x").expect("it runs");
    machine.sh(&format!("kill -HUP {pid}")).expect_success();
    wait_until_shown(
        &machine,
        "CTL=pidfile=/run/ctl.pid",
        "ctl: cannot reload: why",
    );
    machine.systemctl(["stop", "x"]).expect_success();
}

#[test]
fn logs_and_status_show_what_a_daemon_has_said_to_the_journal() {
    require!(machine());
    let machine = Systemd::boot(Root::new().copy("/usr/bin/ctl", bin("ctl")));
    let environment =
        "CTL='pidfile=/run/ctl.pid stdout=journal stderr=journal reloads= broken=größe'";
    machine
        .sh(&format!("{environment} ctl start"))
        .expect_success();
    let failed = machine.sh(&format!("{environment} ctl reload"));
    assert_eq!(failed.status, 1, "{failed}");
    for _ in 0..2 {
        wait_until_shown(&machine, environment, "ctl: cannot reload: größe");
        machine
            .sh(&format!("{environment} ctl stop"))
            .expect_success();
    }
}

/// A machine with a socket where the journal's would be.
fn stand_in() -> (Machine, UnixListener, PathBuf) {
    let machine = Machine::boot(root());
    machine.sh("mkdir -p /run/systemd/journal").expect_success();
    let path = machine.path("/run/systemd/journal/stdout");
    let socket = UnixListener::bind(&path).expect("a socket");
    (machine, socket, path)
}

#[test]
fn the_journal_is_told_who_writes() {
    require!(machine());
    let (machine, socket, _) = stand_in();
    let start = format!("{START} init:environ=/run/environ init:expect_shutdown init:print=out");
    machine.sh(&start).expect_success();
    let (mut stream, _) = socket.accept().expect("a connection");
    let pid = machine.wait_for_text("/run/greeter.pid");
    let pid = pid.trim();
    let fds = [1, 2].map(|number| {
        let found = fs::metadata(machine.path(format!("/proc/{pid}/fd/{number}")));
        let found = found.expect("a descriptor");
        format!("JOURNAL_STREAM={}:{}", found.dev(), found.ino())
    });
    assert_eq!(fds[0], fds[1], "one connection for both");
    let environ = machine.wait_for_text("/run/environ");
    assert!(
        environ.split('\0').any(|entry| entry == fds[0]),
        "{environ:?}"
    );

    machine.sh(&format!("kill {pid}")).expect_success();
    let mut bytes = String::new();
    stream.read_to_string(&mut bytes).expect("up to the end");
    assert_eq!(bytes, "greeter\n\n30\n1\n0\n0\n0\nout");
}

#[test]
fn in_the_foreground_the_streams_are_the_callers() {
    require!(machine());
    let (machine, socket, _) = stand_in();
    let ran = machine.sh(&format!(
        "DAEMON_MODE=foreground {START} init:print=out main:exit=0"
    ));
    assert_eq!(ran.expect_success(), "out");
    socket.set_nonblocking(true).unwrap();
    let none = socket.accept().expect_err("no connection");
    assert_eq!(none.kind(), ErrorKind::WouldBlock);
}

#[test]
fn where_the_journal_does_not_answer_the_start_fails() {
    require!(machine());
    let (machine, socket, _) = stand_in();
    drop(socket);
    let ran = machine.sh(START);
    assert_eq!(ran.status, 89, "{ran}");
    let words = "cannot connect the standard streams: the journal: Connection refused";
    assert!(ran.stderr.contains(words), "{ran}");
    assert!(machine.pids("svc").is_empty());
}

#[test]
fn where_there_is_no_journal_the_log_is_at_its_usual_place() {
    require!(machine(), tool("setpriv"));
    let machine = Machine::boot(root());
    machine
        .sh(&format!("{START} init:eprintln=out"))
        .expect_success();
    assert_eq!(machine.wait_for_text("/var/log/greeter.log"), "out\n");
    let user = "mkdir -p -m 755 /run/user && install -d -m 700 -o 4711 /run/user/4711 /tmp/home";
    machine.sh(user).expect_success();
    let start = "HOME=/tmp/home setpriv --reuid 4711 --regid 4711 --clear-groups svc name=greeter pidfile= \
                 stderr=journal init:eprintln=out";
    machine.sh(start).expect_success();
    let log = machine.wait_for_text("/tmp/home/.local/state/greeter/greeter.log");
    assert_eq!(log, "out\n");
}
