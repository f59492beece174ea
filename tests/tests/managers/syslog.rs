//! The system log as a service's log, with the test as the log daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{bin, require};

const START: &str = "svc name=greeter pidfile=/run/greeter.pid stdout=syslog stderr=syslog";

fn machine() -> Machine {
    Machine::boot(
        Root::new()
            .copy("/usr/bin/svc", bin("svc"))
            .copy("/usr/bin/ctl", bin("ctl")),
    )
}

fn system_log(machine: &Machine) -> UnixDatagram {
    let path = machine.path("/dev/log");
    _ = fs::remove_file(&path);
    let log = UnixDatagram::bind(&path).expect("a socket");
    fs::set_permissions(path, Permissions::from_mode(0o666)).expect("root may");
    log.set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a limit");
    log
}

/// The next message, without its time.
fn message(log: &UnixDatagram) -> String {
    let mut buffer = vec![0; 1 << 17];
    let length = log.recv(&mut buffer).expect("a message");
    let text = String::from_utf8(buffer[..length].to_vec()).expect("UTF-8");
    let (priority, rest) = text.split_once('>').expect("a priority");
    let (_time, rest) = rest.split_at("Nov  7 09:05:00 ".len());
    format!("{priority}>{rest}")
}

fn pid(machine: &Machine) -> String {
    machine.wait_for_text("/run/greeter.pid").trim().to_owned()
}

fn wait_for_end(machine: &Machine) {
    wait_until("the end of the service and of its writer", || {
        machine.pids("svc").is_empty().then_some(())
    });
}

#[test]
fn the_last_words_of_a_service_that_crashes_are_in_the_system_log() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    let script = format!(
        "{START} user=nobody init:print='out\n' init:eprintln='<4>a warning' \
         init:expect_shutdown main:shutdown main:eprintln='last words' main:abort"
    );
    machine.sh(&script).expect_success();
    let pid = pid(&machine);
    assert_eq!(message(&log), format!("<30>greeter[{pid}]: out"));
    assert_eq!(message(&log), format!("<28>greeter[{pid}]: a warning"));
    machine.sh(&format!("kill {pid}")).expect_success();
    assert_eq!(message(&log), format!("<30>greeter[{pid}]: last words"));
    wait_for_end(&machine);
}

#[test]
fn a_service_in_a_chroot_reaches_a_log_daemon_that_was_restarted() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    machine.sh("mkdir /srv/empty").expect_success();
    let script = format!(
        "{START} user=nobody chroot=/srv/empty init:expect_shutdown main:shutdown main:lines=2"
    );
    machine.sh(&script).expect_success();
    drop(log);
    let log = system_log(&machine);
    let pid = pid(&machine);
    machine.sh(&format!("kill {pid}")).expect_success();
    for line in ["line 0000", "line 0001"] {
        assert_eq!(message(&log), format!("<30>greeter[{pid}]: {line}"));
    }
    wait_for_end(&machine);
}

/// The library's own messages have their severity, as in the journal.
#[test]
fn a_message_of_the_library_is_an_error() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    let script = format!("{START} init:expect_shutdown main:shutdown main:err='no more disk'");
    machine.sh(&script).expect_success();
    let pid = pid(&machine);
    machine.sh(&format!("kill {pid}")).expect_success();
    let said = message(&log);
    assert!(said.starts_with(&format!("<27>greeter[{pid}]: ")), "{said}");
    assert!(said.ends_with("no more disk"), "{said}");
}

/// It waits for a log daemon once, not for each line.
#[test]
fn a_log_daemon_that_is_gone_does_not_keep_the_service_waiting() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    let script = format!("{START} init:expect_shutdown main:shutdown main:lines=20000");
    machine.sh(&script).expect_success();
    drop(log);
    let pid = pid(&machine);
    machine.sh(&format!("kill {pid}")).expect_success();
    wait_for_end(&machine);
}

/// It waits for room a second in all, not for each line.
#[test]
fn a_log_daemon_that_does_not_read_does_not_keep_the_service_waiting() {
    require!(machine());
    let machine = machine();
    let _log = system_log(&machine);
    let script = format!("{START} init:expect_shutdown main:shutdown main:lines=20000");
    machine.sh(&script).expect_success();
    let pid = pid(&machine);
    machine.sh(&format!("kill {pid}")).expect_success();
    wait_for_end(&machine);
}

#[test]
fn a_long_line_comes_in_parts() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    let script = format!("{START} init:print=\"$(printf %050000d 1)\n\"");
    machine.sh(&script).expect_success();
    let (first, second) = (message(&log), message(&log));
    let mark = format!("<30>greeter[{}]: ", pid(&machine));
    let parts = [&first, &second].map(|part| part.strip_prefix(&mark).expect("a header"));
    assert_eq!(parts.concat(), format!("{:050000}", 1));
}

#[test]
fn a_system_log_that_does_not_answer_fails_the_start() {
    require!(machine());
    let machine = machine();
    drop(system_log(&machine));
    let ran = machine.sh(START);
    assert_eq!(ran.status, 89, "{}", ran.stderr);
    for words in [
        "connect the standard streams",
        "/dev/log",
        "Connection refused (os error 111)",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert!(machine.pids("svc").is_empty());
}

#[test]
fn without_a_system_log_the_file_at_the_usual_place_has_it() {
    require!(machine());
    let machine = machine();
    machine
        .sh(&format!("{START} init:print='out\n'"))
        .expect_success();
    assert_eq!(machine.wait_for_text("/var/log/greeter.log"), "out\n");
}

#[test]
fn stop_and_status_know_the_service_alone() {
    require!(machine());
    let machine = machine();
    let log = system_log(&machine);
    let environment =
        "CTL='pidfile=/run/greeter.pid stdout=syslog stderr=syslog reloads= broken=why'";
    machine
        .sh(&format!("{environment} ctl start"))
        .expect_success();
    let status = machine
        .sh(&format!("{environment} ctl status --json"))
        .expect_success();
    assert!(status.contains("\"log\":\"syslog\""), "{status}");
    let logs = machine.sh(&format!("{environment} ctl logs"));
    assert!(logs.stderr.contains("/var/log/syslog"), "{}", logs.stderr);
    machine
        .sh(&format!("{environment} ctl restart"))
        .expect_success();
    let stopped = machine
        .sh(&format!("{environment} ctl stop"))
        .expect_success();
    assert!(stopped.starts_with("ctl stopped: pid "), "{stopped}");
    wait_until("the end of the writers", || {
        machine.pids("ctl").is_empty().then_some(())
    });
    drop(log);
}
