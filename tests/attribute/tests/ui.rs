//! What the compiler says of each fault, and that it says nothing of what is right.
// Which C library the program is for makes no difference to the compiler.
#![cfg(not(target_env = "musl"))]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// One error for each fault, with its caret on the user's own token.
#[test]
fn faults() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
    for expected in files("ui/fail", "stderr") {
        let errors = fs::read_to_string(&expected).unwrap();
        let errors = errors
            .lines()
            .filter(|line| line.starts_with("error"))
            .count();
        let one = !MORE_THAN_ONE.iter().any(|case| expected.ends_with(case));
        assert!(
            errors == 1 || !one && errors > 1,
            "{} has {errors} errors",
            expected.display()
        );
    }
}

/// Faults that are independent are reported together; and where tokio complains first, it does not say what to do.
const MORE_THAN_ONE: [&str; 2] = [
    "several_faults.stderr",
    "runtime_above_with_a_parameter.stderr",
];

/// Every right shape, in both editions, under lints that a strict crate may have. Only compiled: trybuild would run them.
#[test]
fn shapes() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shapes");
    package(&root.join("edition-2021"), "2021", "daemon-rt", "ui/pass");
    package(&root.join("edition-2024"), "2024", "daemon-rt", "ui/pass");
    package(&root.join("renamed"), "2024", "rt", "ui/renamed");
    fs::write(root.join("Cargo.toml"), WORKSPACE).unwrap();
    fs::copy(here("../../Cargo.lock"), root.join("Cargo.lock")).unwrap();

    let clippy = Command::new(env!("CARGO"))
        .args([
            "clippy",
            "--workspace",
            "--offline",
            "--quiet",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target"))
        .output()
        .unwrap();
    assert!(
        clippy.status.success(),
        "{}",
        String::from_utf8_lossy(&clippy.stderr)
    );
}

const WORKSPACE: &str = r#"
[workspace]
resolver = "3"
members = ["*"]
exclude = ["target"]

[workspace.lints]
rust = { unsafe_code = "forbid", warnings = "deny" }
clippy.pedantic = { level = "deny", priority = -1 }
# The hooks of the shapes do next to nothing.
clippy.unnecessary_wraps = "allow"
"#;

/// A package with a binary for each file in `sources`, which knows this library by the name `library`.
fn package(directory: &Path, edition: &str, library: &str, sources: &str) {
    let name = directory.file_name().unwrap().to_str().unwrap();
    let path = here("../../daemon-rt");
    let mut manifest = format!(
        r#"
package = {{ name = "{name}", edition = "{edition}" }}
lints.workspace = true

[dependencies]
anyhow = "1"
{library} = {{ package = "daemon-rt", path = "{}" }}
tokio = {{ version = "1", features = ["macros", "rt"] }}
"#,
        path.display()
    );
    for source in files(sources, "rs") {
        let shape = source.file_stem().unwrap().to_str().unwrap();
        // A binary's name is unique in a workspace.
        let path = source.display();
        write!(
            manifest,
            "\n[[bin]]\nname = \"{name}-{shape}\"\npath = \"{path}\"\n"
        )
        .unwrap();
    }
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(here(directory)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} in {directory}");
    files
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
