//! The public API is what `daemon-rt.txt` says: a change of it is made on purpose, or not at all.
//!
//! After such a change: `UPDATE_SNAPSHOTS=yes cargo test -p api`, and see `git diff`.

use std::path::Path;
use std::process::Command;

use daemon_harness::require;

/// Each compiler's rustdoc has a format of its own, and names of its own for what is in std.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_public_api_is_as_stored() {
    let version = Command::new("rustc").arg("--version").output();
    let version = String::from_utf8(version.expect("rustc").stdout).expect("a text");
    if !version.starts_with(COMPILER) {
        require::skip(&format!("the text is {COMPILER}x's"));
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let documented = Command::new(env!("CARGO"))
        .args(["rustdoc", "--quiet", "--lib", "-p", "daemon-rt"])
        .args(["--all-features", "--target-dir"])
        .arg(target)
        .args(["--", "-Zunstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    assert!(documented.expect("cargo").success());
    public_api::Builder::from_rustdoc_json(target.join("doc/daemon_rt.json"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .expect("the documentation")
        .assert_eq_or_update(concat!(env!("CARGO_MANIFEST_DIR"), "/daemon-rt.txt"));
}
