//! The checker `wellbehaved`: it finds nothing wrong with our own service, all that is wrong with bad daemons, and leaves
//! nothing behind.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use daemon_tests::{Proc, Scene, bin, require};
use serde_json::Value;

/// What the checker says of a command; `options` are its own.
fn examine(options: &[&str], command: &[&str]) -> Output {
    Command::new(bin("wellbehaved")).args(options).arg("--").args(command).output().expect("the checker")
}

/// The verdicts of its table, by key.
fn verdicts(output: &Output) -> BTreeMap<String, String> {
    let table: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
    table["rows"].as_array().expect("rows").iter().map(|row| (text(row, "key"), text(row, "verdict"))).collect()
}

/// The keys with this verdict.
fn keys<'t>(verdicts: &'t BTreeMap<String, String>, verdict: &str) -> Vec<&'t str> {
    verdicts.iter().filter(|(_, found)| *found == verdict).map(|(key, _)| key.as_str()).collect()
}

/// A daemon's script, which is executed by /bin/sh with the path of a pidfile.
struct Script {
    scene: Scene,
}

impl Script {
    fn new(text: &str) -> Self {
        let scene = Scene::new();
        scene.file("script", text);
        Self { scene }
    }

    fn examine(&self, options: &[&str]) -> Output {
        let pidfile = self.scene.pidfile();
        let path = |path: &Path| path.to_str().expect("text").to_owned();
        let options: Vec<_> = ["--json"].iter().chain(options).copied().collect();
        let named = ["--pidfile", &path(&pidfile)];
        let output = examine(
            &[options.as_slice(), &named].concat(),
            &["/bin/sh", &path(&self.scene.path("script")), &path(&pidfile)],
        );
        self.assert_clean();
        output
    }

    /// Of all that was started nothing is left.
    fn assert_clean(&self) {
        let script = self.scene.path("script");
        let is_ours = |process: &Proc| !process.is_gone() && process.arguments().iter().any(|word| *word == script);
        let init = Proc::descendants(1);
        assert!(!init.iter().any(is_ours), "a process is left");
        assert!(!self.scene.pidfile().exists(), "a pidfile is left");
    }
}

#[test]
fn our_own_service_passes_everything() {
    require!(root(), tool("strace"));
    let scene = Scene::new();
    let (svc, pidfile) = (bin("svc"), scene.pidfile());
    let pidfile = pidfile.to_str().unwrap();
    let set = format!("pidfile={pidfile}");
    let output = examine(&["--json", "--pidfile", pidfile], &[svc.to_str().unwrap(), &set, "user=nobody"]);
    let verdicts = verdicts(&output);
    assert_eq!(keys(&verdicts, "pass").len(), verdicts.len(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn without_pidfile_and_user_their_rows_do_not_apply() {
    require!(tool("strace"));
    let output = examine(&["--json"], &[bin("svc").to_str().unwrap()]);
    let verdicts = verdicts(&output);
    assert_eq!(keys(&verdicts, "fail"), Vec::<&str>::new(), "{}", String::from_utf8_lossy(&output.stdout));
    let rest = keys(&verdicts, "not-applicable");
    assert!(["12", "13", "13g", "13o", "15", "E20", "E24", "E26"].iter().all(|key| rest.contains(key)), "{rest:?}");
    assert_eq!(output.status.code(), Some(0));
}

/// `command &`, as it is written in many an init script.
#[test]
fn a_job_in_the_background_is_no_daemon() {
    require!(root(), tool("strace"));
    let output = Script::new("sleep 1000 &\necho $! > $1\n").examine(&[]);
    let verdicts = verdicts(&output);
    let wrong = ["1", "2", "3", "4", "6", "8", "9", "10", "11", "E09", "E20", "E21s", "E24", "E26", "pipes"];
    for key in wrong {
        assert_eq!(verdicts[key], "fail", "{key} of {}", String::from_utf8_lossy(&output.stdout));
    }
    for key in ["start", "5", "12", "15", "E20g", "E25", "stop"] {
        assert_eq!(verdicts[key], "pass", "{key} of {}", String::from_utf8_lossy(&output.stdout));
    }
    for key in ["13", "E01", "E27"] {
        assert_eq!(verdicts[key], "not-applicable", "{key} of {}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(output.status.code(), Some(1));
}

/// The starter does not wait for what it has started.
#[test]
fn a_pidfile_that_comes_late_is_seen() {
    require!(tool("strace"));
    let text = "setsid sh -c 'sleep 0.3; echo $$ > $1; exec sleep 1000' sh $1 < /dev/null > /dev/null 2>&1 &\n";
    let verdicts = verdicts(&Script::new(text).examine(&[]));
    assert_eq!((&*verdicts["15"], &*verdicts["12"], &*verdicts["6"]), ("fail", "pass", "pass"), "{verdicts:?}");
    // The leader of its session may get a terminal.
    assert_eq!(verdicts["7"], "fail");
}

#[test]
fn a_daemon_that_does_not_end_at_its_stop_signal_is_seen() {
    let text = "setsid sh -c 'trap \"\" TERM; trap exit USR2; while :; do sleep 0.1; done' \
                < /dev/null > /dev/null 2>&1 & echo $! > $1\n";
    let verdict = |options: &[&str]| verdicts(&Script::new(text).examine(options))["stop"].clone();
    assert_eq!((verdict(&[]), verdict(&["--stop-signal", "12"])), ("fail".into(), "pass".into()));
}

#[test]
fn what_stays_in_the_foreground_is_no_daemon() {
    let output = Script::new("exec sleep 1000\n").examine(&[]);
    let verdicts = verdicts(&output);
    assert_eq!(keys(&verdicts, "fail"), ["start"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_table_is_for_people_too() {
    let output = examine(&[], &["/bin/false"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("FAIL start") && shown.contains("1 fail, "), "{shown}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_wrong_call_ends_with_status_2_and_changes_nothing() {
    let scene = Scene::new();
    let there = scene.file("there", "12\n");
    let calls: [(&[&str], &[&str]); 5] = [
        (&[], &[]),
        (&["--nonsense"], &["/bin/true"]),
        (&["--stop-signal", "65"], &["/bin/true"]),
        (&[], &["/nowhere/to/be/found"]),
        (&["--pidfile", there.to_str().unwrap()], &["/bin/true"]),
    ];
    for (options, command) in calls {
        let output = examine(options, command);
        assert_eq!(output.status.code(), Some(2), "{options:?} {command:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{output:?}");
    }
    assert_eq!(fs::read_to_string(there).unwrap(), "12\n");
}
