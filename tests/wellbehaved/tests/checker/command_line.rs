//! How the checker is called, what it prints, and that it leaves nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daemon_harness::Proc;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::{GOOD_DAEMON, Place, Script, WELLBEHAVED, examine, verdicts};

/// As `cargo run … -- COMMAND` has it, and an option after the command is the command's own.
#[test]
fn the_command_needs_no_dashes_before_it() {
    let output = Command::new(WELLBEHAVED)
        .args(["--json", "/bin/false", "--json", "-x"])
        .output();
    let table: Value = serde_json::from_slice(&output.expect("the checker").stdout).expect("JSON");
    assert_eq!(
        table["command"],
        serde_json::json!(["/bin/false", "--json", "-x"])
    );
}

#[test]
fn the_table_is_for_people_too() {
    let output = examine(&[], &["/bin/false"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("FAIL start") && shown.contains("1 fail, "),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_help_tells_everything() {
    let help = Command::new(WELLBEHAVED)
        .arg("--help")
        .output()
        .expect("the checker");
    let help = String::from_utf8_lossy(&help.stdout);
    for part in [
        "--pidfile",
        "--json",
        "--stop-signal",
        "--timeout",
        "Exit status",
        "not-applicable",
        "E36",
        "strace",
    ] {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[test]
fn without_strace_it_says_so_and_sees_the_rest() {
    let place = Place::new();
    let mut checker = Command::new(WELLBEHAVED);
    checker
        .arg("--json")
        .arg("--")
        .arg(GOOD_DAEMON)
        .env("PATH", place.path(""));
    let output = checker.output().expect("the checker");
    let verdicts = verdicts(&output);
    assert!(
        ["13o", "14", "15", "E01", "E04", "E11"]
            .iter()
            .all(|key| verdicts[*key] == "not-applicable"),
        "{verdicts:?}"
    );
    assert_eq!((&*verdicts["1"], output.status.code()), ("pass", Some(0)));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("needs strace"),
        "{output:?}"
    );
}

#[test]
fn it_needs_no_program_beside_it() {
    let place = Place::new();
    let alone = place.path("checker");
    fs::copy(WELLBEHAVED, &alone).expect("a copy");
    let output = Command::new(alone).args(["--", "/bin/true"]).output();
    let output = output.expect("the checker");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAIL start"));
}

#[test]
fn a_wrong_call_ends_with_status_2_and_changes_nothing() {
    let place = Place::new();
    let there = place.file("there", "12\n");
    let calls: [(&[&str], &[&str]); 9] = [
        (&[], &[]),
        (&["--nonsense"], &["/bin/true"]),
        (&["--stop-signal", "65"], &["/bin/true"]),
        (&["--stop-signal", "NONSENSE"], &["/bin/true"]),
        (&["--timeout", "0"], &["/bin/true"]),
        (&["--pidfile", "/nowhere/pid"], &["/bin/true"]),
        (&[], &["/nowhere/to/be/found"]),
        // It is there, but no program.
        (&[], &[there.to_str().unwrap()]),
        (&["--pidfile", there.to_str().unwrap()], &["/bin/true"]),
    ];
    for (options, command) in calls {
        let output = examine(options, command);
        assert_eq!(output.status.code(), Some(2), "{options:?} {command:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{output:?}"
        );
    }
    assert_eq!(fs::read_to_string(there).unwrap(), "12\n");
}

#[test]
fn an_interrupted_checker_leaves_nothing() {
    let is_regular = |path: &Path| path.symlink_metadata().ok().map(|found| found.is_file());
    // While a daemon runs, and when something else is at the pidfile's path.
    for (signal, regular) in [(Signal::SIGINT, true), (Signal::SIGTERM, false)] {
        let script = Script::new("sleep 1000 &\necho $! > $1\n");
        let mut checker = script
            .checker(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the checker");
        let pid = i32::try_from(checker.id()).expect("a pid");
        // Between two rows there may be a moment without a keeper.
        let waited = std::panic::catch_unwind(|| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
            loop {
                let directories = keepers_directories(pid);
                if is_regular(&script.place.pidfile()) == Some(regular) && !directories.is_empty() {
                    return directories;
                }
                assert!(
                    std::time::Instant::now() < deadline,
                    "nothing comes to the pidfile's path"
                );
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        kill(nix::unistd::Pid::from_raw(pid), signal).expect("a signal to the checker");
        let status = checker.wait().expect("the checker");
        let directories = waited.expect("the right moment");
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        script.assert_clean();
        for directory in directories {
            assert!(
                !Path::new(&directory).exists(),
                "{} is left",
                directory.display()
            );
        }
    }
}

/// The directories of the keepers that a checker has started.
fn keepers_directories(checker: i32) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for process in Proc::descendants(checker) {
        // It may be gone by now.
        let line = fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
        if let Some(arguments) = line.strip_prefix(b"keeper\0") {
            let directory = arguments.split(|byte| *byte == 0).next();
            directories.extend(directory.map(|bytes| PathBuf::from(OsStr::from_bytes(bytes))));
        }
    }
    directories
}
