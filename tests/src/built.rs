//! Programs that a test has Cargo build.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use daemon_harness::bin;

/// Builds a program, which takes no time if that is done, for the C library that this test was
/// built for, and says where it is. With these arguments besides.
pub fn built(package: &str, program: &str, arguments: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--message-format=json",
            "--package",
            package,
        ])
        .args(arguments);
    if cfg!(target_env = "musl") {
        // Cargo does not tell a test that it was built by `--target`.
        cargo.arg(format!(
            "--target={}-unknown-linux-musl",
            std::env::consts::ARCH
        ));
    }
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8(output.stdout).expect("JSON");
    let mut messages = messages
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let executable = messages.find_map(|message: serde_json::Value| {
        let found =
            message["target"]["name"] == program && message["reason"] == "compiler-artifact";
        message["executable"]
            .as_str()
            .filter(|_| found)
            .map(PathBuf::from)
    });
    executable.expect("the path of the program")
}

/// An example. Where `tests/run` has built all programs, with `DAEMON_TESTS_BUILT`, it is there.
pub fn example(name: &str) -> PathBuf {
    example_in(name, name)
}

/// One of the examples of a package.
pub fn example_in(package: &str, name: &str) -> PathBuf {
    match env::var_os("DAEMON_TESTS_BUILT") {
        Some(_) => bin(name),
        None => built(package, name, &[]),
    }
}
