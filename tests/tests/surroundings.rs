//! A sample of the walk through surroundings, by places; `cargo run -p daemon-tests --bin
//! surroundings` is the whole.
//!
//! `DAEMON_TESTS_SEED` chooses another sample, `DAEMON_TESTS_SAMPLE` another size (10 for each
//! place, which has 15 or 20).

use daemon_harness::require;
use daemon_tests::walk::sample;

/// Walks the surroundings in this place.
fn walk(place: &str) {
    let program = env!("CARGO_BIN_EXE_surroundings").as_ref();
    sample(program, 10, &["--only", place, "--jobs", "1"]);
}

#[test]
fn the_machine() {
    require!(machine());
    walk("Host/");
}

#[test]
fn c1_c2_c3_a_container() {
    require!(machine());
    walk("OwnProc/");
}

#[test]
fn a_proc_that_shows_processes_alone() {
    require!(machine());
    walk("SubsetPid/");
}

#[test]
fn a_proc_that_hides_the_processes_of_others() {
    require!(machine());
    walk("HidePid/");
}

#[test]
fn d4_the_proc_of_another_pid_namespace() {
    require!(machine());
    walk("OuterProc/");
}

#[test]
fn c1_no_proc() {
    require!(machine());
    walk("NoProc/");
}
