//! Programs that are built in several ways, and a library that is loaded late.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon_harness::{Scene, require};
use daemon_tests::svc::started;

use super::has;

/// The ways to build a program: arguments of Cargo, and flags of the compiler.
const WAYS: [(&str, &[&str], &str); 4] = [
    ("as it is", &[], ""),
    ("small", &["--profile", "small"], ""),
    ("static", &[], "-C target-feature=+crt-static"),
    ("not relocatable", &[], "-C relocation-model=static"),
];

#[test]
fn what_is_inherited_is_noted_however_the_program_is_built() {
    let package = Package::new("built");
    for (way, arguments, flags) in WAYS {
        let built = package.build(&[&["build", "--bin", "places"], arguments].concat(), flags);
        for loader in ["", "/lib64/ld-linux-x86-64.so.2"] {
            if loader.is_empty() || (way != "static" && Path::new(loader).exists()) {
                assert_notes(way, loader, &built);
            }
        }
    }
}

fn assert_notes(way: &str, loader: &str, program: &Path) {
    let scene = Scene::new();
    let file = scene.file("inherited", "");
    let launch = if loader.is_empty() {
        scene.launch(program)
    } else {
        scene.launch(loader).arg(program)
    };
    let launch = launch.descriptor(7, &file).descriptor(63, &file);
    let daemon = started(launch.env("PIDFILE_PATH", scene.pidfile()), &scene);
    assert!(
        !has(&daemon, &file),
        "{way} {loader}: {:#?}",
        daemon.descriptors()
    );
}

/// It gets the late rule, which looks for threads in the foreground, too.
#[test]
fn a_main_that_a_test_calls_is_not_taken_for_the_programs() {
    let package = Package::new("tested");
    let test = package.build(&["test", "--no-run", "--bin", "tested"], "");
    let output = Command::new(test).arg("--nocapture").output().unwrap();
    assert_eq!(output.status.code(), Some(85), "{output:#?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("in the main loop"));
}

/// What is open when it is loaded is the program's.
#[test]
fn a_library_that_is_loaded_late_notes_nothing() {
    require!(tool("python3"));
    let library = Package::new("library").build(&["build", "--lib"], "");
    let scene = Scene::new();
    let file = scene.file("inherited", "");
    let launch = scene
        .launch("/usr/bin/env")
        .arg("python3")
        .arg(here("places/host.py"));
    let launch = launch.arg(library).descriptor(7, &file);
    let launch = launch
        .env("PIDFILE_PATH", scene.pidfile())
        .env("OWNED", scene.path("owned"));
    let daemon = started(launch, &scene);
    assert!(has(&daemon, scene.path("owned")) && has(&daemon, &file));
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A package of the sources in `places`, outside of the workspace.
struct Package(PathBuf);

impl Package {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("places")
            .join(name);
        let source = |name: &str| here("places").join(name).display().to_string();
        let manifest = format!(
            r#"
workspace = {{}}
package = {{ name = "places", version = "0.0.0", edition = "2024", autobins = false }}
lib = {{ path = "{}", crate-type = ["cdylib"], name = "places_library" }}
bin = [{{ name = "places", path = "{}" }}, {{ name = "tested", path = "{}" }}]

[dependencies]
daemon-rt.path = "{}"
rustix = {{ version = "1.1", features = ["fs", "pipe"] }}

[profile.small]
inherits = "release"
lto = "fat"
opt-level = "z"
panic = "abort"
strip = true
"#,
            source("library.rs"),
            source("main.rs"),
            source("tested.rs"),
            here("../daemon-rt").display()
        );
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("Cargo.toml"), manifest).unwrap();
        fs::copy(here("../Cargo.lock"), directory.join("Cargo.lock")).unwrap();
        Self(directory)
    }

    /// Has Cargo build it; returns the last program or library that came of it.
    fn build(&self, arguments: &[&str], flags: &str) -> PathBuf {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments);
        cargo.args(["--quiet", "--offline", "--message-format=json"]);
        // With a target the flags are not for what runs while it is built.
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        cargo.args(["--target", &target, "--target-dir", "../target"]);
        cargo.env("RUSTFLAGS", flags).current_dir(&self.0);
        let output = cargo.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let messages = String::from_utf8(output.stdout).unwrap();
        let mut built = None;
        for line in messages.lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            if message["package_id"]
                .as_str()
                .is_some_and(|id| id.contains("places"))
            {
                let file = message["filenames"][0].as_str().map(PathBuf::from);
                let library = file.filter(|file| file.extension() == Some("so".as_ref()));
                let program = message["executable"].as_str().map(PathBuf::from);
                built = program.or(library).or(built);
            }
        }
        built.unwrap()
    }
}
