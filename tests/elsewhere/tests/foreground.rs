//! What the services do where the system is not Unix. `run` runs it under Wine.
#![cfg(not(unix))]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const HOOKS: &str = env!("CARGO_BIN_EXE_hooks");
const ASYNC_READY: &str = env!("CARGO_BIN_EXE_async_ready");
const COMMANDS: &str = env!("CARGO_BIN_EXE_commands");

/// The status, standard output and standard error of a program, whose lines end as on Unix.
fn run(program: &str, words: &[&str]) -> (i32, String, String) {
    outcome(Command::new(program).args(words))
}

fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let status = status.code().expect("a status");
    (status, text(stdout), text(stderr))
}

#[test]
fn a_service_without_hooks_runs() {
    let (status, stdout, stderr) = run(env!("CARGO_BIN_EXE_plain"), &[]);
    assert_eq!((status, &*stdout, &*stderr), (0, "main\n", ""));
}

#[test]
fn an_error_of_main_is_one_line() {
    let (status, stdout, stderr) = run(env!("CARGO_BIN_EXE_plain"), &["broken"]);
    assert_eq!((status, &*stdout), (1, "main\n"));
    assert!(
        stderr.ends_with(": broken\n") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn the_hooks_run_in_their_order_and_the_progress_is_shown() {
    let (status, stdout, stderr) = run(HOOKS, &["foreground"]);
    let order = "configure\nprivileged_init\ninit\nmain\n";
    assert_eq!(
        (status, &*stdout, &*stderr),
        (0, order, "hooks: almost there\n")
    );
}

#[test]
fn an_error_of_configure_is_one_line_and_status_78() {
    let (status, stdout, stderr) = run(HOOKS, &["fail"]);
    let line = "hooks: cannot configure: no configuration\n";
    assert_eq!((status, &*stdout, &*stderr), (78, "configure\n", line));
}

#[test]
fn a_panic_of_a_hook_is_status_101() {
    let (status, stdout, stderr) = run(HOOKS, &["panic"]);
    assert_eq!((status, &*stdout), (101, "configure\n"));
    assert!(
        stderr.contains("hooks: cannot configure: `configure` panicked at"),
        "{stderr}"
    );
}

#[test]
fn one_that_does_not_end_in_time_is_ended() {
    let (status, stdout, stderr) = run(HOOKS, &["hang"]);
    assert_eq!(status, 97, "{stdout}");
    assert!(stderr.contains("did not end within 300ms"), "{stderr}");
}

#[test]
fn what_a_service_would_rely_on_is_refused() {
    for (word, setting) in [
        ("user", "user"),
        ("group", "group"),
        ("groups", "groups"),
        ("chroot", "chroot"),
        ("capabilities", "capabilities"),
        ("no_new_privs", "no_new_privs"),
        ("keep_fds", "keep_fds"),
        ("detach", "mode: detach"),
        ("restart", "restart"),
    ] {
        let (status, stdout, stderr) = run(HOOKS, &[word]);
        let line = format!("hooks: invalid setting: {setting}: not available on this system\n");
        assert_eq!((status, &*stdout, stderr), (2, "configure\n", line));
    }
}

#[test]
fn the_environment_cannot_ask_for_more() {
    let (status, _, stderr) = outcome(Command::new(HOOKS).env("DAEMON_MODE", "detach"));
    assert!(
        status == 2 && stderr.contains("DAEMON_MODE=detach"),
        "{status}: {stderr}"
    );
    let (status, ..) = outcome(Command::new(HOOKS).env("DAEMON_MODE", "foreground"));
    assert_eq!(status, 0);
    let (status, _, stderr) = outcome(Command::new(HOOKS).arg("keep_fds_from").env("KEPT", "3"));
    assert!(
        status == 2 && stderr.contains("keep_fds_from"),
        "{status}: {stderr}"
    );
    let (status, ..) = run(HOOKS, &["keep_fds_from"]);
    assert_eq!(status, 0);
}

#[test]
fn a_pidfile_that_is_missing_is_said() {
    let (status, stdout, stderr) = run(HOOKS, &["pidfile"]);
    let lines = "hooks: no pidfile is written on this system: other instances can run beside this one\nhooks: almost there\n";
    assert_eq!((status, &*stderr), (0, lines));
    assert!(stdout.ends_with("main\n") && !Path::new("hooks.pid").exists());
}

#[test]
fn it_listens() {
    let mut service = Command::new(HOOKS);
    let mut service = service
        .arg("listen")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the service");
    let mut lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
    let address = lines.nth(4).expect("an address").expect("UTF-8");
    TcpStream::connect(address).expect("it accepts");
    assert!(service.wait().expect("its end").success());
}

#[test]
fn an_asynchronous_service_says_itself_when_it_is_ready() {
    let (status, stdout, stderr) = run(ASYNC_READY, &[]);
    assert_eq!((status, &*stdout), (0, "neither\n"));
    assert!(
        stderr.ends_with(": before it is ready\n") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_start_that_never_became_ready_has_failed() {
    for (word, reason) in [
        ("return", ": cannot initialize: too early\n"),
        (
            "drop",
            ": cannot initialize: it dropped `Ready` without calling `notify`\n",
        ),
    ] {
        let (status, _, stderr) = run(ASYNC_READY, &[word]);
        assert_eq!(status, 1);
        assert!(stderr.ends_with(reason), "{stderr}");
    }
}

#[test]
fn the_commands_that_there_are_run_it() {
    for words in [&[][..], &["start"], &["run"]] {
        let (status, stdout, stderr) = run(COMMANDS, words);
        assert_eq!(
            (status, &*stdout, stderr.lines().count()),
            (0, "main\n", 1),
            "{stderr}"
        );
    }
    let (status, stdout, stderr) = run(COMMANDS, &["check"]);
    assert!(stdout.ends_with(": configuration is good\n"), "{stdout}");
    assert_eq!((status, stderr.lines().count()), (0, 1), "{stderr}");
    let (status, stdout, _) = run(COMMANDS, &["check", "--quiet"]);
    assert_eq!((status, &*stdout), (0, ""));
    let (status, stdout, _) = run(COMMANDS, &["--help"]);
    assert!(status == 0 && stdout.contains("restart"), "{stdout}");
}

#[test]
fn the_other_commands_say_that_they_are_not_available() {
    for (words, verb, expected) in [
        (&["stop"][..], "stop", 1),
        (&["restart"], "restart", 1),
        (&["reload"], "reload", 1),
        (&["kill", "15"], "send a signal", 1),
        (&["status"], "look the service up", 4),
        (&["unit", "systemd"], "print a service file", 1),
    ] {
        let (status, stdout, stderr) = run(COMMANDS, words);
        let line = format!(": cannot {verb}: not available on this system\n");
        assert_eq!((status, &*stdout), (expected, ""));
        assert!(stderr.ends_with(&line), "{stderr}");
    }
}

#[test]
fn a_program_without_the_attribute_runs_and_controls_nothing() {
    let (status, stdout, stderr) = run(env!("CARGO_BIN_EXE_builder"), &[]);
    let lines = "cannot stop: not available on this system\nmain\n";
    assert_eq!((status, &*stdout, &*stderr), (0, lines, ""));
}
