//! The checker: it finds nothing wrong with a good daemon, and all that is wrong with bad ones.
//!
//! | module | holds |
//! | --- | --- |
//! | `daemons` | good daemons and bad ones |
//! | `command_line` | how the checker is called, what it prints, and that it leaves nothing |

mod command_line;
mod daemons;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use daemon_harness::Proc;
use serde_json::Value;
use tempfile::TempDir;

const WELLBEHAVED: &str = env!("CARGO_BIN_EXE_wellbehaved");
const GOOD_DAEMON: &str = env!("CARGO_BIN_EXE_good-daemon");

/// What the checker says of a command; `options` are its own.
fn examine(options: &[&str], command: &[impl AsRef<OsStr>]) -> Output {
    Command::new(WELLBEHAVED)
        .args(options)
        .arg("--")
        .args(command)
        .output()
        .expect("the checker")
}

/// The verdicts of its table, by key.
fn verdicts(output: &Output) -> BTreeMap<String, String> {
    let table: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
    table["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (text(row, "key"), text(row, "verdict")))
        .collect()
}

/// The keys with this verdict.
fn keys<'t>(verdicts: &'t BTreeMap<String, String>, verdict: &str) -> Vec<&'t str> {
    verdicts
        .iter()
        .filter(|(_, found)| *found == verdict)
        .map(|(key, _)| key.as_str())
        .collect()
}

/// A place for a pidfile, and for what a test needs besides, which everyone may go through.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let open = Permissions::from_mode(0o755);
        let directory = tempfile::Builder::new().permissions(open).tempdir();
        Self(directory.expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a new file");
        path
    }

    fn pidfile(&self) -> PathBuf {
        self.path("service.pid")
    }
}

/// A daemon's script, which is executed by /bin/sh with the path of a pidfile.
struct Script {
    place: Place,
}

impl Script {
    fn new(text: &str) -> Self {
        let place = Place::new();
        place.file("script", text);
        Self { place }
    }

    /// A script that executes a program in Python, which is another file.
    fn python(text: &str) -> Self {
        let script = Self::new("exec /usr/bin/python3 $(dirname $0)/daemon.py $1\n");
        script.place.file("daemon.py", text);
        script
    }

    fn checker(&self, options: &[&str]) -> Command {
        let (script, pidfile) = (self.place.path("script"), self.place.pidfile());
        let mut checker = Command::new(WELLBEHAVED);
        checker
            .arg("--json")
            .args(options)
            .arg("--pidfile")
            .arg(&pidfile);
        checker.args(["--", "/bin/sh"]).args([script, pidfile]);
        checker
    }

    fn examine(&self, options: &[&str]) -> Output {
        let output = self.checker(options).output().expect("the checker");
        self.assert_clean();
        output
    }

    /// Of all that was started nothing is left.
    fn assert_clean(&self) {
        let script = self.place.path("script");
        let is_ours = |process: &Proc| {
            !process.is_gone() && process.arguments().iter().any(|word| *word == script)
        };
        let init = Proc::descendants(1);
        assert!(!init.iter().any(is_ours), "a process is left");
        assert!(
            self.place.pidfile().symlink_metadata().is_err(),
            "something is left at the pidfile's path"
        );
    }
}
