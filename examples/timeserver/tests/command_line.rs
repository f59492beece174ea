//! How it is called. What it does is tested in `tests/tests/examples`.

use std::process::Command;

#[test]
fn it_wants_a_port() {
    let refused = Command::new(env!("CARGO_BIN_EXE_timeserver"))
        .arg("clock")
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(78) && said.contains("port clock"),
        "{said}"
    );
}
