//! A sample of the fault injection; `cargo run --release -p inject` is the whole.
//!
//! `DAEMON_TESTS_SEED` chooses another sample, `DAEMON_TESTS_SAMPLE` another size (300).

use daemon_harness::require;
use daemon_tests::walk::sample;

#[test]
fn whatever_fails_it_is_all_or_nothing() {
    require!(root(), x86_64(), glibc());
    sample(env!("CARGO_BIN_EXE_inject").as_ref(), 300, &[]);
}
