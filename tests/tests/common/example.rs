//! The examples, as programs.

use std::{path::PathBuf, process::Command};

/// Builds an example, which takes no time if that is done, and says where it is.
pub(crate) fn example(name: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--message-format=json", "--package", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).expect("JSON");
    let mut messages = messages.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let executable = messages.find_map(|message: serde_json::Value| {
        let program = message["target"]["name"] == name && message["reason"] == "compiler-artifact";
        message["executable"].as_str().filter(|_| program).map(PathBuf::from)
    });
    executable.expect("the path of the example")
}
