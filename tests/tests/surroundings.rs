//! A sample of the walk through surroundings, by places; `cargo run -p daemon-tests --bin
//! surroundings` is the whole.
//!
//! `DAEMON_TESTS_SEED` chooses another sample, `DAEMON_TESTS_SAMPLE` another size (10 for each
//! place, which has 15 or 20).

use std::env;
use std::process::Command;

use daemon_harness::{bin, require};

/// No description holds it.
const NOTHING: &str = "\n";

/// Walks the surroundings in this place, but those that hold this text.
fn walk(place: &str, except: &str) {
    let value = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let sample = value("DAEMON_TESTS_SAMPLE", "10");
    let seed = value("DAEMON_TESTS_SEED", "1");
    let arguments = [
        "--only", place, "--except", except, "--sample", &sample, "--seed", &seed, "--jobs", "1",
    ];
    let walk = Command::new(bin("surroundings"))
        .args(arguments)
        .output()
        .expect("the walk");
    let said = [walk.stdout, walk.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    assert!(walk.status.success(), "{said}");
    assert!(
        said.contains(", seed ") && !said.starts_with("0 of "),
        "{said}"
    );
}

#[test]
fn the_machine() {
    require!(machine());
    walk("Host/", NOTHING);
}

#[test]
fn c1_c2_c3_a_container() {
    require!(machine());
    walk("OwnProc/", NOTHING);
}

#[test]
fn a_proc_that_shows_processes_alone() {
    require!(machine());
    walk("SubsetPid/", NOTHING);
}

#[test]
fn a_proc_that_hides_the_processes_of_others() {
    require!(machine());
    walk("HidePid/", NOTHING);
}

#[test]
fn d4_the_proc_of_another_pid_namespace() {
    require!(machine());
    walk("OuterProc/", NOTHING);
}

#[test]
fn c1_no_proc() {
    require!(machine());
    walk("NoProc/", NOTHING);
}
