//! How it is called. What it does is tested in `tests/tests/examples`.

use std::process::Command;

#[test]
fn a_mode_that_does_not_exist_is_refused() {
    let refused = Command::new(env!("CARGO_BIN_EXE_simpleservice"))
        .env("DAEMON_MODE", "sideways")
        .env("XDG_RUNTIME_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the service");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("DAEMON_MODE"), "{said}");
}
