//! A sample of the fault injection; `cargo run --release -p inject` is the whole.
//!
//! `DAEMON_TESTS_SEED` chooses another sample, `DAEMON_TESTS_SAMPLE` another size (300).

use std::env;
use std::process::Command;

use daemon_harness::require;

#[test]
fn whatever_fails_it_is_all_or_nothing() {
    require!(root(), x86_64(), glibc());
    let value = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let sample = value("DAEMON_TESTS_SAMPLE", "300");
    let seed = value("DAEMON_TESTS_SEED", "1");
    let walk = Command::new(env!("CARGO_BIN_EXE_inject"))
        .args(["--sample", &sample, "--seed", &seed])
        .output()
        .expect("the walk");
    let said = [walk.stdout, walk.stderr]
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .concat();
    assert!(walk.status.success(), "{said}");
    assert!(said.contains(&format!("{sample} of ")), "{said}");
}
