//! How it is called. What it does is tested in `tests/tests/examples`.

use std::process::Command;

#[test]
fn it_explains_itself() {
    let help = Command::new(env!("CARGO_BIN_EXE_chat"))
        .arg("--help")
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&help.stdout);
    assert!(
        help.status.success() && said.contains("Usage: chat"),
        "{said}"
    );
}
