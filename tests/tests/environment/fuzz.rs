//! Every variable of the environment that is read, with any values: no start hangs or crashes; it
//! is a good one, in the foreground or not, or a message says what is wrong, and nothing is left.
//!
//! `PROPTEST_CASES` says how many starts (48), besides those of the corpus.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::{env, fs};

use daemon_harness::{Launch, PROMPT, Scene, Started, bin, require};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;
/// Stands for the pid of the process that reads it.
const SELF: &[u8] = b"SELF";

const MODES: [&str; 5] = ["detach", "foreground", "auto", "Detach", " detach"];
const PIDS: [&str; 9] = [
    "SELF",
    "0",
    "1",
    "-1",
    "2147483648",
    "99999999999999999999",
    "+5",
    " 7",
    "5x",
];
const NUMBERS: [&str; 9] = [
    "0",
    "1",
    "3",
    "-3",
    "253",
    "2147483647",
    "18446744073709551616",
    "1e3",
    "0x3",
];
const NAMES: [&str; 6] = [":", "a:b:c", "connection", "::::::::", "a b", "\u{1}"];
const SOCKETS: [&str; 8] = [
    "/nowhere/notify",
    "/dev/null",
    "/",
    "@",
    "@nobody",
    "vsock:2:9999",
    "vsock:x",
    "relative",
];
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

/// All that are read, with values that are likely to be. (At the end a new one leaves valid what
/// proptest has kept.)
const READ: [(&str, &[&str]); 25] = [
    ("DAEMON_MODE", &MODES),
    ("NOTIFY_SOCKET", &SOCKETS),
    ("SYSTEMD_EXEC_PID", &PIDS),
    ("PIDFILE", &DIRECTORIES),
    ("PATH", &DIRECTORIES),
    ("LISTEN_PID", &PIDS),
    ("LISTEN_FDS", &NUMBERS),
    ("LISTEN_FDNAMES", &NAMES),
    ("WATCHDOG_PID", &PIDS),
    ("WATCHDOG_USEC", &NUMBERS),
    ("DAEMON_NOTIFY_FD", &NUMBERS),
    ("XDG_RUNTIME_DIR", &DIRECTORIES),
    ("JOURNAL_STREAM", &NUMBERS),
    ("XPC_SERVICE_NAME", &NAMES),
    ("LISTEN_PIDFDID", &NUMBERS),
    ("MAINPID", &PIDS),
    ("RC_SVCNAME", &NAMES),
    ("DAEMON_LAUNCHED", &NUMBERS),
    ("RUNTIME_DIRECTORY", &DIRECTORIES),
    ("LOGS_DIRECTORY", &DIRECTORIES),
    ("STATE_DIRECTORY", &DIRECTORIES),
    ("XDG_STATE_HOME", &DIRECTORIES),
    ("XDG_CONFIG_HOME", &DIRECTORIES),
    ("HOME", &DIRECTORIES),
    ("TMPDIR", &DIRECTORIES),
];

fn variables() -> impl Strategy<Value = Variables> {
    let each = READ.map(|(name, likely)| {
        value(likely).prop_map(move |value| value.map(|value| (name, value)))
    });
    Vec::from(each).prop_map(|found| found.into_iter().flatten().collect())
}

/// The starts of the corpus.
fn corpus() -> Vec<Variables> {
    let lines = include_str!("../../corpus/environment.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split(' ').map(variable).collect())
        .collect()
}

fn variable(text: &'static str) -> (&'static str, Vec<u8>) {
    let (name, value) = text.split_once('=').expect("NAME=VALUE");
    let mut parts = value.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for escaped in parts {
        if let Some(hex) = escaped.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two digits"));
            bytes.extend(hex[2..].bytes());
        } else {
            bytes.push(b'\n');
            bytes.extend(escaped.strip_prefix('n').expect(r"\n or \xHH").bytes());
        }
    }
    (name, bytes)
}

/// Two starts of the corpus in one, and perhaps a value in another's place.
fn of_the_corpus() -> impl Strategy<Value = Variables> {
    let two = (select(corpus()), select(corpus()));
    (two, any::<Index>(), any::<Index>(), any::<bool>()).prop_map(
        |((mut one, mut other), from, to, exchange)| {
            one.append(&mut other);
            if exchange {
                let value = one[from.index(one.len())].1.clone();
                let to = to.index(one.len());
                one[to].1 = value;
            }
            one
        },
    )
}

/// Through a shell, which puts its pid, that of the service to be, in the place of SELF.
fn launch<'s>(scene: &'s Scene, variables: &Variables) -> Launch<'s> {
    let own = variables.iter().filter(|(_, value)| value == SELF);
    let script: Vec<_> = own.map(|(name, _)| format!("export {name}=$$; ")).collect();
    let script = script.concat();
    let entries = variables
        .iter()
        .map(|(name, value)| [name.as_bytes(), b"=", value].concat());
    let launch = scene
        .launch("/bin/sh")
        .args(["-c", &format!("{script}exec \"$@\""), "sh"])
        .arg(bin("svc"));
    launch.raw_env(entries).limit(PROMPT * 2)
}

/// A good start, of a service that has written `ready` and ended; or a clear message, and nothing
/// left.
fn check(scene: &Scene, started: &Started, ready: &Path) -> Result<(), TestCaseError> {
    prop_assert!(started.status.signal().is_none(), "a crash: {started:#?}");
    if started.status.success() {
        scene.wait_until("readiness", || ready.exists());
    } else {
        let code = started.status.code().unwrap_or(0);
        prop_assert!(matches!(code, 1 | 2 | 78 | 80..=96), "{started:#?}");
        prop_assert!(
            started.stderr.lines().any(
                |line| line.contains("svc: cannot ") || line.contains("svc: invalid setting: ")
            ),
            "no message: {started:#?}"
        );
        prop_assert!(!ready.exists());
    }
    scene.wait_until("the end", || scene.leftovers().is_empty());
    Ok(())
}

/// Those of the corpus, then as many starts as are asked for; one that fails is kept, and tried
/// first from then on.
fn fuzz(kept: &'static str, test: impl Fn(&Variables) -> Result<(), TestCaseError>) {
    for variables in corpus() {
        test(&variables).unwrap_or_else(|failure| panic!("{failure}: {variables:?}"));
    }
    let cases = env::var("PROPTEST_CASES").map_or(48, |cases| cases.parse().expect("a number"));
    run(cases, kept, &variables(), &test);
    run(cases / 4, kept, &of_the_corpus(), &test);
}

fn run(
    cases: u32,
    kept: &'static str,
    variables: &impl Strategy<Value = Variables>,
    test: impl Fn(&Variables) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept))),
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    };
    if let Err(failure) = TestRunner::new(config).run(variables, |variables| test(&variables)) {
        panic!("{failure}");
    }
}

#[test]
fn any_environment() {
    fuzz("proptest-regressions/any_environment.txt", |variables| {
        let scene = Scene::new();
        let ready = scene.path("ready");
        let launch = launch(&scene, variables).set("pidfile", scene.pidfile());
        let started = launch
            .arg("init:watchdog=/dev/null")
            .set("main:write", &ready)
            .run();
        check(&scene, &started, &ready)
    });
}

#[test]
fn any_environment_of_an_ordinary_user_with_the_default_pidfile() {
    require!(root());
    fuzz(
        "proptest-regressions/any_environment_of_an_ordinary_user.txt",
        |variables| {
            let scene = Scene::new();
            let home = scene.dir("home", 0o755, Some(ORDINARY));
            let ready = home.join("ready");
            // The next is /tmp, which is not this test's.
            let mut variables = variables.clone();
            variables.retain(|(name, _)| *name != "TMPDIR");
            let launch = launch(&scene, &variables)
                .env("TMPDIR", &home)
                .arg("pidfile=")
                .arg("stdout=usual")
                .set("main:write", &ready)
                .ordinary(ORDINARY);
            check(&scene, &launch.run(), &ready)
        },
    );
}

#[test]
fn any_environment_of_a_service_that_asks_for_its_sockets() {
    fuzz(
        "proptest-regressions/any_environment_with_sockets.txt",
        |variables| {
            let scene = Scene::new();
            let ready = scene.path("ready");
            let names = scene.path("names");
            let launch =
                launch(&scene, variables).set("init:take", format!("{}:", names.display()));
            check(&scene, &launch.set("main:write", &ready).run(), &ready)
        },
    );
}

/// Found by the above: creating a file says "not found" where none can be made, as in a directory
/// that was removed.
#[test]
fn a_pidfile_where_no_file_can_be_made() {
    let scene = Scene::new();
    let started = scene
        .launch(bin("svc"))
        .arg("pidfile=/proc/service.pid")
        .run();
    started
        .assert_exited(92)
        .assert_says(&["svc: cannot write the pidfile: /proc/service.pid: "]);
    scene.assert_no_leftovers();
}

/// Each variable that the library reads is among those that are fuzzed.
#[test]
fn every_variable_that_is_read_is_fuzzed() {
    let mut found = BTreeSet::new();
    find_variables(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon-rt/src"),
        &mut found,
    );
    assert_eq!(
        found,
        READ.iter().map(|(name, _)| (*name).to_owned()).collect()
    );
}

/// The names of those that are read by the sources in a directory.
fn find_variables(sources: &Path, found: &mut BTreeSet<String>) {
    const CALLS: [&str; 4] = [
        "take_variable(start, \"",
        "take_number(start, \"",
        "env::var_os(\"",
        "env::var(\"",
    ];
    for entry in fs::read_dir(sources).expect("the library's sources") {
        let path = entry.expect("a source").path();
        if path.is_dir() {
            find_variables(&path, found);
        } else if !path.ends_with("tests.rs") {
            let source = fs::read_to_string(path).expect("a source");
            let calls = CALLS.iter().flat_map(|call| source.split(call).skip(1));
            found.extend(
                calls
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
}
