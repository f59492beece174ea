//! E35: of the caller's environment only what is allowed remains, in memory too.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Proc, Scene, bin, require};
use nix::unistd::{User, geteuid};

use daemon_tests::svc::{refused, started};

use crate::service;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The entries of an environment.
type Entries = BTreeSet<String>;

/// What the daemon hands on to what it executes. No entry is there twice.
fn handed_on(launch: Launch<'_>, scene: &Scene) -> Entries {
    let file = directory(scene).join("environ");
    started(launch.set("init:environ", &file), scene);
    entries(&file)
}

/// Where the daemon, whoever it is, can write.
fn directory(scene: &Scene) -> PathBuf {
    let open = scene.path("open");
    if open.exists() {
        open
    } else {
        scene.dir("open", 0o777, None)
    }
}

fn entries(file: &Path) -> Entries {
    let bytes = fs::read(file).unwrap();
    let list: Vec<_> = bytes
        .split(|&byte| byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8_lossy(entry).into_owned())
        .collect();
    let set: Entries = list.iter().cloned().collect();
    assert_eq!(set.len(), list.len(), "twice: {list:?}");
    set
}

/// The `PATH`, and what is said of a user who has an entry, or has none.
fn said_of(user: Option<User>) -> Entries {
    let said = match user {
        None => vec!["HOME=/".to_owned()],
        Some(user) => vec![
            format!("HOME={}", user.dir.display()),
            format!("USER={}", user.name),
            format!("LOGNAME={}", user.name),
            format!("SHELL={}", user.shell.display()),
        ],
    };
    said.into_iter().chain([PATH.to_owned()]).collect()
}

/// What is said of the user who runs the test; and these.
fn ordinary(more: &[&str]) -> Entries {
    let me = User::from_uid(geteuid()).expect("the users of this machine");
    said_of(me)
        .into_iter()
        .chain(more.iter().map(|&entry| entry.to_owned()))
        .collect()
}

#[test]
fn e35_a_hostile_environment_leaves_nothing() {
    let scene = Scene::new();
    let hostile = service(&scene)
        .env_clear()
        .env("PATH", "/evil")
        .hostile()
        .raw_env([
            b"LD_PRELOAD=/evil.so".as_slice(),
            b"LD_AUDIT=/evil.so",
            b"GCONV_PATH=/evil",
            b"MALLOC_CHECK_=3",
            b"BASH_FUNC_ls%%=() { evil; }",
            b"HOME=/evil",
            b"USER=evil",
            b"LOGNAME=evil",
            b"SHELL=/evil",
            b"MAIL=/evil",
            b"PWD=/evil",
            b"LANGX=evil",
            b"XLANG=evil",
            b"TZX=evil",
            b"LC=evil",
            b"lang=evil",
            b"LANG",
        ]);
    assert_eq!(handed_on(hostile, &scene), ordinary(&[]));
}

#[test]
fn e35_thousands_of_entries_and_long_ones() {
    let scene = Scene::new();
    let many = (0..20_000).map(|number| format!("LC{number}=x"));
    let launch = service(&scene)
        .raw_env(many)
        .env("LONG", "x".repeat(100_000))
        .env("LANG", "C");
    assert_eq!(handed_on(launch, &scene), ordinary(&["LANG=C"]));
}

#[test]
fn e35_an_empty_environment_is_filled() {
    let scene = Scene::new();
    assert_eq!(
        handed_on(service(&scene).env_clear(), &scene),
        ordinary(&[])
    );
}

#[test]
fn language_and_time_zone_are_kept() {
    let scene = Scene::new();
    let kept = [
        "LANG=de_DE.UTF-8",
        "LANGUAGE=de:en",
        "LC_ALL=C",
        "LC_=",
        "LC_NEW=a=b",
        "TZ=:/etc/localtime",
    ];
    assert_eq!(
        handed_on(service(&scene).raw_env(kept).env("OTHER", "1"), &scene),
        ordinary(&kept)
    );
}

/// What a person sets to hear more of a service.
#[test]
fn the_variables_of_rust_are_kept_unless_they_may_be_another_users() {
    let scene = Scene::new();
    let rust = ["RUST_LOG=debug", "RUST_BACKTRACE=1", "RUST_LIB_BACKTRACE=0"];
    let others = ["RUST_LOG_STYLE=always", "RUST_MIN_STACK=1"];
    let entries = handed_on(service(&scene).raw_env(rust).raw_env(others), &scene);
    assert_eq!(entries, ordinary(&rust));
}

#[test]
fn a_set_user_id_program_keeps_no_variable_of_rust() {
    require!(root());
    let scene = Scene::new();
    let program = scene.path("svc");
    fs::copy(bin("svc"), &program).expect("a copy");
    chown(&program, Some(4711), None).expect("chown");
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("chmod");
    let file = directory(&scene).join("environ");
    // Another program may not read what it has been given.
    let has_set = |launch: Launch<'_>| {
        let launch = launch.ordinary(4712).env("RUST_LOG", "trace");
        let print = format!("env >{}", file.display());
        scene.stop(&started(launch.set("init:sh", print), &scene));
        fs::read_to_string(&file).expect("its environment")
    };
    assert!(!has_set(scene.launch(&program)).contains("RUST_"));
    // The settings are the program's own.
    let kept = has_set(scene.launch(&program).set("keep_env", "RUST_LOG"));
    assert!(kept.contains("RUST_LOG=trace"), "{kept:?}");
}

#[test]
fn keep_env_names_what_else_is_kept() {
    let scene = Scene::new();
    let given = [
        "EXACT=1",
        "EXACTLY=2",
        "MY_A=3",
        "MY_=4",
        "MY=5",
        "OTHER=6",
        "EMPTY=",
    ];
    let launch = service(&scene)
        .raw_env(given)
        .set("keep_env", "EXACT,MY_*,EMPTY,ABSENT");
    assert_eq!(
        handed_on(launch, &scene),
        ordinary(&["EXACT=1", "MY_A=3", "MY_=4", "EMPTY="])
    );
}

#[test]
fn keep_env_of_a_star_keeps_all_that_is_a_variable() {
    let scene = Scene::new();
    let given = [
        b"A=1".as_slice(),
        b"B=a=b",
        b"no equals sign",
        b"",
        b"=no name",
        b"BYTES=\xff",
    ];
    let launch = service(&scene)
        .env_clear()
        .raw_env(given)
        .set("keep_env", "*");
    assert_eq!(
        handed_on(launch, &scene),
        ordinary(&["A=1", "B=a=b", "BYTES=\u{fffd}"])
    );
}

/// getenv(3) gives the first one, and so what `configure` has seen is what the service sees.
#[test]
fn e35_of_duplicates_the_first_is_kept() {
    let scene = Scene::new();
    let launch =
        service(&scene).raw_env(["LANG=first", "KEPT=first", "LANG=second", "KEPT=second"]);
    assert_eq!(
        handed_on(launch.set("keep_env", "KEPT,K*"), &scene),
        ordinary(&["LANG=first", "KEPT=first"])
    );
}

#[test]
fn the_callers_path_can_be_kept() {
    let scene = Scene::new();
    let launch = service(&scene)
        .env_clear()
        .env("PATH", "/mine")
        .set("keep_env", "PATH");
    let found = handed_on(launch, &scene);
    assert!(
        found.contains("PATH=/mine") && !found.contains(PATH),
        "{found:?}"
    );
}

#[test]
fn what_is_said_of_the_user_is_of_the_target() {
    require!(root());
    let scene = Scene::new();
    let nobody = User::from_name("nobody").unwrap();
    let launch = service(&scene)
        .set("user", "nobody")
        .env("HOME", "/root")
        .env("USER", "root");
    assert_eq!(handed_on(launch, &scene), said_of(nobody));
}

#[test]
fn who_has_no_entry_is_nobody_in_particular() {
    require!(root());
    let scene = Scene::new();
    let launch = service(&scene)
        .ordinary(54321)
        .env("HOME", "/root")
        .env("USER", "root");
    assert_eq!(handed_on(launch, &scene), said_of(None));
}

/// Not only out of the environment: out of the daemon's memory, where root and its core file would
/// show it.
fn assert_forgotten(daemon: &Proc) {
    assert!(
        daemon.memory_contains(b"LANG=remembered"),
        "the test sees nothing"
    );
    for secret in [b"hunter2".as_slice(), b"hunter3"] {
        assert!(
            !daemon
                .environ_bytes()
                .windows(secret.len())
                .any(|bytes| bytes == secret),
            "in /proc/PID/environ"
        );
        assert!(!daemon.memory_contains(secret), "in memory");
    }
}

#[test]
fn e35_a_secret_is_gone_though_configure_could_read_it() {
    let scene = Scene::new();
    let launch = service(&scene).hostile().env("LANG", "remembered");
    let launch = launch.arg("configure:sh=test ${#SECRET} = 7"); // As long as hunter2.
    assert_forgotten(&started(launch, &scene));
}

#[test]
fn e35_a_secret_is_gone_for_nobody_and_for_an_ordinary_user() {
    require!(root());
    let scene = Scene::new();
    let hostile = || service(&scene).hostile().env("LANG", "remembered");
    let daemon = started(hostile().set("user", "nobody"), &scene);
    assert_forgotten(&daemon);
    daemon.kill();
    scene.exit_status(&daemon);
    assert_forgotten(&started(hostile().ordinary(4711), &scene));
}

#[test]
fn e35_what_is_kept_is_there_for_init_and_nothing_else() {
    let scene = Scene::new();
    let launch = service(&scene).hostile().set("keep_env", "SECRET");
    started(
        launch.arg(
            "init:sh=test \"$SECRET\" = hunter2 && test -z \"$FILLER_7$IFSX$LD_LIBRARY_PATH\"",
        ),
        &scene,
    );
    let scene = Scene::new();
    let launch = service(&scene).hostile();
    refused(
        launch.arg("init:sh=test -n \"$SECRET\""),
        &scene,
        1,
        &["exit status: 1"],
    );
}

/// It is the manager's; only the protocols' variables are taken out, before anything can inherit
/// them.
#[test]
fn in_the_foreground_the_environment_stays() {
    let scene = Scene::new();
    let file = scene.path("environ");
    let launch = service(&scene)
        .env_clear()
        .raw_env(["SECRET=hunter2", "HOME=/here", "PATH=/bin"]);
    let protocols = [
        "DAEMON_MODE=foreground",
        "WATCHDOG_USEC=1000000",
        "SYSTEMD_EXEC_PID=1",
        "LISTEN_FDS=1",
    ];
    let launch = launch
        .raw_env(protocols)
        .set("keep_env", "HOME")
        .set("configure:environ", &file);
    let running = launch.arg("init:eprintln=ready").spawn();
    scene.wait_until("readiness", || running.stderr().contains("ready"));
    assert_eq!(
        entries(&file),
        Entries::from(["SECRET=hunter2", "HOME=/here", "PATH=/bin"].map(String::from))
    );
}
