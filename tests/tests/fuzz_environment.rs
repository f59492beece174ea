//! Every variable of the environment that is read, with any values: no start hangs or crashes; it is a good one, in the
//! foreground or not, or a message says what is wrong, and nothing is left.
//!
//! `PROPTEST_CASES` says how many starts (48).

use std::{env, os::unix::process::ExitStatusExt, path::Path, time::Duration};

use daemon_tests::{Launch, Scene, Started, bin, require};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{FileFailurePersistence, TestRunner},
};

/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;
/// Stands for the pid of the process that reads it.
const SELF: &[u8] = b"SELF";

const MODES: [&str; 5] = ["detach", "foreground", "auto", "Detach", " detach"];
const PIDS: [&str; 9] = ["SELF", "0", "1", "-1", "2147483648", "99999999999999999999", "+5", " 7", "5x"];
const NUMBERS: [&str; 9] = ["0", "1", "3", "-3", "253", "2147483647", "18446744073709551616", "1e3", "0x3"];
const NAMES: [&str; 6] = [":", "a:b:c", "connection", "::::::::", "a b", "\u{1}"];
const SOCKETS: [&str; 8] = ["/nowhere/notify", "/dev/null", "/", "@", "@nobody", "vsock:2:9999", "vsock:x", "relative"];
const DIRECTORIES: [&str; 5] = ["/nowhere", "relative", "/dev/null", "/proc", "."];

/// Nothing, one of these, or anything: bytes that are no text, and long ones.
fn value(likely: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        4 => Just(None),
        4 => select(likely).prop_map(|value| Some(value.as_bytes().to_vec())),
        1 => prop::collection::vec(1..=255_u8, 0..12).prop_map(Some),
        1 => (1..=255_u8, 100..5000_usize).prop_map(|(byte, length)| Some(vec![byte; length])),
    ]
}

type Variables = Vec<(&'static str, Vec<u8>)>;

fn variables() -> impl Strategy<Value = Variables> {
    let kinds: [(&'static str, &'static [&'static str]); 13] = [
        ("DAEMON_MODE", &MODES),
        ("NOTIFY_SOCKET", &SOCKETS),
        ("SYSTEMD_EXEC_PID", &PIDS),
        ("PIDFILE", &DIRECTORIES),
        ("LISTEN_PID", &PIDS),
        ("LISTEN_FDS", &NUMBERS),
        ("LISTEN_FDNAMES", &NAMES),
        ("WATCHDOG_PID", &PIDS),
        ("WATCHDOG_USEC", &NUMBERS),
        ("DAEMON_NOTIFY_FD", &NUMBERS),
        ("XDG_RUNTIME_DIR", &DIRECTORIES),
        ("JOURNAL_STREAM", &NUMBERS),
        ("XPC_SERVICE_NAME", &NAMES),
    ];
    let each = kinds.map(|(name, likely)| value(likely).prop_map(move |value| value.map(|value| (name, value))));
    Vec::from(each).prop_map(|found| found.into_iter().flatten().collect())
}

/// Through a shell, which puts its pid, that of the service to be, in the place of SELF.
fn launch<'s>(scene: &'s Scene, variables: &Variables) -> Launch<'s> {
    let own = variables.iter().filter(|(_, value)| value == SELF);
    let script: Vec<_> = own.map(|(name, _)| format!("export {name}=$$; ")).collect();
    let script = script.concat();
    let entries = variables.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat());
    let launch = scene.launch("/bin/sh").args(["-c", &format!("{script}exec \"$@\""), "sh"]).arg(bin("svc"));
    launch.raw_env(entries).limit(Duration::from_secs(15))
}

/// A good start, of a service that has written `ready` and ended; or a clear message, and nothing left.
fn check(scene: &Scene, started: &Started, ready: &Path) -> Result<(), TestCaseError> {
    prop_assert!(started.status.signal().is_none(), "a crash: {started:#?}");
    if started.status.success() {
        scene.wait_until("readiness", || ready.exists());
    } else {
        let code = started.status.code().unwrap_or(0);
        prop_assert!(matches!(code, 1 | 2 | 80..=96), "{started:#?}");
        prop_assert!(started.stderr.lines().any(|line| line.contains("svc: cannot ")), "no message: {started:#?}");
        prop_assert!(!ready.exists());
    }
    scene.wait_until("the end", || scene.leftovers().is_empty());
    Ok(())
}

/// As many starts as are asked for; one that fails is kept, and tried first from then on.
fn fuzz(corpus: &'static str, test: impl Fn(&Variables) -> Result<(), TestCaseError>) {
    let cases = env::var("PROPTEST_CASES").map_or(48, |cases| cases.parse().expect("a number"));
    let config = ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(corpus))),
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    if let Err(failure) = TestRunner::new(config).run(&variables(), |variables| test(&variables)) {
        panic!("{failure}");
    }
}

#[test]
fn any_environment() {
    fuzz("proptest-regressions/any_environment.txt", |variables| {
        let scene = Scene::new();
        let ready = scene.path("ready");
        let launch = launch(&scene, variables).set("pidfile", scene.pidfile());
        let started = launch.arg("init:watchdog=/dev/null").set("main:write", &ready).run();
        check(&scene, &started, &ready)
    });
}

#[test]
fn any_environment_of_an_ordinary_user_with_the_default_pidfile() {
    require!(root());
    fuzz("proptest-regressions/any_environment_of_an_ordinary_user.txt", |variables| {
        let scene = Scene::new();
        let home = scene.dir("home", 0o755, Some(ORDINARY));
        let ready = home.join("ready");
        let launch = launch(&scene, variables).arg("pidfile=").set("main:write", &ready).ordinary(ORDINARY);
        check(&scene, &launch.run(), &ready)
    });
}

#[test]
fn any_environment_of_a_service_that_asks_for_its_sockets() {
    fuzz("proptest-regressions/any_environment_with_sockets.txt", |variables| {
        let scene = Scene::new();
        let ready = scene.path("ready");
        let names = scene.path("names");
        let launch = launch(&scene, variables).set("init:take", format!("{}:", names.display()));
        check(&scene, &launch.set("main:write", &ready).run(), &ready)
    });
}

/// Found by the above: creating a file says "not found" where none can be made, as in a directory that was removed.
#[test]
fn a_pidfile_where_no_file_can_be_made() {
    let scene = Scene::new();
    let started = scene.launch(bin("svc")).arg("pidfile=/proc/service.pid").run();
    started.assert_exited(92).assert_says(&["svc: cannot write the pidfile: /proc/service.pid: "]);
    scene.assert_no_leftovers();
}
