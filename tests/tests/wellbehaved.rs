//! The checker `wellbehaved`: it finds nothing wrong with our own service, all that is wrong with
//! bad daemons, and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daemon_harness::{Proc, Scene, bin, require};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

/// What the checker says of a command; `options` are its own.
fn examine(options: &[&str], command: &[&str]) -> Output {
    Command::new(bin("wellbehaved"))
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

    /// A script that executes a program in Python, which is another file.
    fn python(text: &str) -> Self {
        let script = Self::new("exec /usr/bin/python3 $(dirname $0)/daemon.py $1\n");
        script.scene.file("daemon.py", text);
        script
    }

    fn checker(&self, options: &[&str]) -> Command {
        let (script, pidfile) = (self.scene.path("script"), self.scene.pidfile());
        let mut checker = Command::new(bin("wellbehaved"));
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
        let script = self.scene.path("script");
        let is_ours = |process: &Proc| {
            !process.is_gone() && process.arguments().iter().any(|word| *word == script)
        };
        let init = Proc::descendants(1);
        assert!(!init.iter().any(is_ours), "a process is left");
        assert!(
            self.scene.pidfile().symlink_metadata().is_err(),
            "something is left at the pidfile's path"
        );
    }
}

#[test]
fn our_own_service_passes_everything() {
    require!(root(), tool("strace"));
    let scene = Scene::new();
    let (svc, pidfile) = (bin("svc"), scene.pidfile());
    let pidfile = pidfile.to_str().unwrap();
    let set = format!("pidfile={pidfile}");
    let status = format!("CTL={set} exec {} status", bin("ctl").display());
    let options = ["--json", "--pidfile", pidfile, "--status", &status];
    let output = examine(&options, &[svc.to_str().unwrap(), &set, "user=nobody"]);
    let verdicts = verdicts(&output);
    assert_eq!(
        keys(&verdicts, "pass").len(),
        verdicts.len(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(output.status.code(), Some(0));
    for step in 1..=15 {
        assert!(
            verdicts.contains_key(&step.to_string()),
            "step {step} has no row"
        );
    }
}

#[test]
fn without_pidfile_and_user_their_rows_do_not_apply() {
    require!(tool("strace"));
    let output = examine(&["--json"], &[bin("svc").to_str().unwrap()]);
    let verdicts = verdicts(&output);
    assert_eq!(
        keys(&verdicts, "fail"),
        Vec::<&str>::new(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let rest = keys(&verdicts, "not-applicable");
    assert!(
        ["12", "13", "13g", "13o", "15", "E20", "E24", "E26"]
            .iter()
            .all(|key| rest.contains(key)),
        "{rest:?}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_status_command_that_lies_in_a_container_is_seen() {
    require!(root(), tool("strace"));
    let (svc, scene) = (bin("svc"), Scene::new());
    let pidfile = scene.pidfile();
    let set = format!("pidfile={}", pidfile.display());
    for lie in ["exit 0", "exit 3"] {
        let options = [
            "--json",
            "--pidfile",
            pidfile.to_str().unwrap(),
            "--status",
            lie,
        ];
        assert_eq!(
            verdicts(&examine(&options, &[svc.to_str().unwrap(), &set]))["C1"],
            "fail",
            "{lie}"
        );
    }
}

/// `command &`, as it is written in many an init script.
#[test]
fn a_job_in_the_background_is_no_daemon() {
    require!(root(), tool("strace"));
    let output = Script::new("sleep 1000 &\necho $! > $1\n").examine(&[]);
    let verdicts = verdicts(&output);
    let wrong = [
        "1", "2", "3", "4", "6", "8", "9", "10", "11", "14", "E09", "E20", "E21s", "E21h", "E24",
        "E26", "pipes",
    ];
    for key in wrong {
        assert_eq!(
            verdicts[key],
            "fail",
            "{key} of {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    for key in [
        "start", "5", "12", "15", "E11", "E20g", "E23", "E25", "stop",
    ] {
        assert_eq!(
            verdicts[key],
            "pass",
            "{key} of {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    for key in ["13", "E01", "E01w", "E04", "E27", "E36"] {
        assert_eq!(
            verdicts[key],
            "not-applicable",
            "{key} of {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    assert_eq!(output.status.code(), Some(1));
}

/// The starter does not wait for what it has started.
#[test]
fn a_pidfile_that_comes_late_is_seen() {
    require!(tool("strace"));
    let text = "setsid sh -c 'sleep 0.3; echo $$ > $1; exec sleep 1000' sh $1 < /dev/null > /dev/null 2>&1 &\n";
    let verdicts = verdicts(&Script::new(text).examine(&[]));
    assert_eq!(
        (&*verdicts["15"], &*verdicts["12"], &*verdicts["6"]),
        ("fail", "pass", "pass"),
        "{verdicts:?}"
    );
    // The leader of its session may get a terminal.
    assert_eq!(verdicts["7"], "fail");
}

#[test]
fn a_daemon_that_does_not_end_at_its_stop_signal_is_seen() {
    let text = "setsid sh -c 'trap \"\" TERM; trap exit USR2; while :; do sleep 0.1; done' \
                < /dev/null > /dev/null 2>&1 & echo $! > $1\n";
    let verdict = |signal| {
        let options = ["--timeout", "2", "--stop-signal", signal];
        verdicts(&Script::new(text).examine(&options))["stop"].clone()
    };
    assert_eq!(
        [verdict("TERM"), verdict("12"), verdict("SIGUSR2")],
        ["fail", "pass", "pass"]
    );
}

/// The starter waits for the pidfile, and cares for nothing else.
#[test]
fn a_starter_that_does_not_care_how_it_ends_is_seen() {
    require!(tool("strace"));
    let text = "setsid sh -c 'echo $$ > $1; exec sleep 1000' sh $1 < /dev/null > /dev/null 2>&1 &\n\
                while ! [ -s $1 ]; do sleep 0.05; done\n";
    let output = Script::new(text).examine(&["--timeout", "3"]);
    let verdicts = verdicts(&output);
    for (key, verdict) in [
        ("14", "pass"),
        ("15", "pass"),
        ("E01", "fail"),
        ("E01w", "fail"),
        ("E04", "fail"),
    ] {
        assert_eq!(
            verdicts[key],
            verdict,
            "{key} of {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

fn has_python() -> bool {
    Path::new("/usr/bin/python3").exists()
}

/// As a daemon is often written: all descriptors closed one by one, one fork, and a pidfile that is
/// taken for one's own.
#[test]
fn a_careless_daemon_is_seen() {
    require!(tool("strace"), that(has_python(), "needs python3"));
    let text = "
import os, signal, sys, time
for number in range(3, os.sysconf('SC_OPEN_MAX')):
    try:
        os.close(number)
    except OSError:
        pass
if os.fork():
    time.sleep(0.02) # It does not wait, but the other may be faster.
    os._exit(0)
os.setsid()
with open(sys.argv[1], 'w') as pidfile:
    pidfile.write(str(os.getpid()))
def end(*_):
    os.unlink(sys.argv[1])
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
";
    let output = Script::python(text).examine(&[]);
    let verdicts = verdicts(&output);
    for key in ["14", "15", "E01", "E01w", "E11", "E21h", "E23"] {
        assert_eq!(
            verdicts[key],
            "fail",
            "{key} of {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    assert_eq!(
        (&*verdicts["E04"], &*verdicts["E26"]),
        ("not-applicable", "pass")
    );
}

#[test]
fn a_daemon_that_only_changes_its_ids_keeps_capabilities() {
    require!(root(), that(has_python(), "needs python3"));
    let text = "
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
with open(sys.argv[1], 'w') as pidfile:
    pidfile.write(str(os.getpid()))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
while True:
    signal.pause()
";
    let verdicts = verdicts(&Script::python(text).examine(&[]));
    assert_eq!(
        (&*verdicts["13"], &*verdicts["E36"]),
        ("pass", "fail"),
        "{verdicts:?}"
    );
}

/// Two of them are left to init, and nobody is started twice.
#[test]
fn a_daemon_of_several_processes_is_one() {
    let text = "exec 9> $1.lock; flock -n 9 || exit 1\n\
                for part in helper main; do setsid sleep 1000 < /dev/null > /dev/null 2>&1 & done; echo $! > $1\n";
    let verdicts = verdicts(&Script::new(text).examine(&[]));
    let of = |key: &str| &*verdicts[key];
    assert_eq!(
        [of("start"), of("12"), of("E20"), of("E24"), of("stop")],
        ["pass", "pass", "pass", "pass", "fail"]
    );
}

#[test]
fn an_interrupted_checker_leaves_nothing() {
    let is_regular = |path: &Path| path.symlink_metadata().ok().map(|found| found.is_file());
    // While a daemon runs, and when something else is at the pidfile's path.
    for (signal, regular) in [(Signal::SIGINT, true), (Signal::SIGTERM, false)] {
        let script = Script::new("sleep 1000 &\necho $! > $1\n");
        let mut checker = script
            .checker(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the checker");
        let pid = i32::try_from(checker.id()).expect("a pid");
        let waited = std::panic::catch_unwind(|| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
            while is_regular(&script.scene.pidfile()) != Some(regular) {
                assert!(
                    std::time::Instant::now() < deadline,
                    "nothing comes to the pidfile's path"
                );
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let keepers: Vec<_> = Proc::descendants(pid)
            .into_iter()
            .filter(|it| it.name().as_deref() == Some("keeper"))
            .collect();
        let directories: Vec<_> = keepers
            .iter()
            .map(|keeper| keeper.arguments()[1].clone())
            .collect();
        kill(nix::unistd::Pid::from_raw(pid), signal).expect("a signal to the checker");
        let status = checker.wait().expect("the checker");
        waited.expect("the right moment");
        assert_eq!(status.signal(), Some(signal as i32), "{status}");
        script.assert_clean();
        assert!(
            !directories.is_empty()
                && directories
                    .iter()
                    .all(|directory| !Path::new(directory).exists())
        );
    }
}

#[test]
fn what_stays_in_the_foreground_is_no_daemon() {
    let output = Script::new("exec sleep 1000\n").examine(&["--timeout", "1"]);
    let verdicts = verdicts(&output);
    assert_eq!(keys(&verdicts, "fail"), ["start"]);
    assert_eq!(output.status.code(), Some(1));
}

/// As `cargo run … -- COMMAND` has it, and an option after the command is the command's own.
#[test]
fn the_command_needs_no_dashes_before_it() {
    let output = Command::new(bin("wellbehaved"))
        .args(["--json", "/bin/false", "--json", "-x"])
        .output();
    let table: Value = serde_json::from_slice(&output.expect("the checker").stdout).expect("JSON");
    assert_eq!(
        table["command"],
        serde_json::json!(["/bin/false", "--json", "-x"])
    );
}

#[test]
fn the_table_is_for_people_too() {
    let output = examine(&[], &["/bin/false"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("FAIL start") && shown.contains("1 fail, "),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_help_tells_everything() {
    let help = Command::new(bin("wellbehaved"))
        .arg("--help")
        .output()
        .expect("the checker");
    let help = String::from_utf8_lossy(&help.stdout);
    for part in [
        "--pidfile",
        "--json",
        "--stop-signal",
        "--timeout",
        "Exit status",
        "not-applicable",
        "E36",
        "strace",
    ] {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[test]
fn without_strace_it_says_so_and_sees_the_rest() {
    let scene = Scene::new();
    let mut checker = Command::new(bin("wellbehaved"));
    checker
        .arg("--json")
        .arg("--")
        .arg(bin("svc"))
        .env("PATH", scene.path(""));
    let output = checker.output().expect("the checker");
    let verdicts = verdicts(&output);
    assert!(
        ["13o", "14", "15", "E01", "E04", "E11"]
            .iter()
            .all(|key| verdicts[*key] == "not-applicable"),
        "{verdicts:?}"
    );
    assert_eq!((&*verdicts["1"], output.status.code()), ("pass", Some(0)));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("needs strace"),
        "{output:?}"
    );
}

#[test]
fn without_its_keeper_it_cannot_begin() {
    let scene = Scene::new();
    let alone = scene.path("wellbehaved");
    fs::copy(bin("wellbehaved"), &alone).expect("a copy");
    let output = Command::new(alone)
        .args(["--", "/bin/true"])
        .output()
        .expect("the checker");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("keeper"),
        "{output:?}"
    );
}

#[test]
fn a_wrong_call_ends_with_status_2_and_changes_nothing() {
    let scene = Scene::new();
    let there = scene.file("there", "12\n");
    let calls: [(&[&str], &[&str]); 9] = [
        (&[], &[]),
        (&["--nonsense"], &["/bin/true"]),
        (&["--stop-signal", "65"], &["/bin/true"]),
        (&["--stop-signal", "NONSENSE"], &["/bin/true"]),
        (&["--timeout", "0"], &["/bin/true"]),
        (&["--pidfile", "/nowhere/pid"], &["/bin/true"]),
        (&[], &["/nowhere/to/be/found"]),
        // It is there, but no program.
        (&[], &[there.to_str().unwrap()]),
        (&["--pidfile", there.to_str().unwrap()], &["/bin/true"]),
    ];
    for (options, command) in calls {
        let output = examine(options, command);
        assert_eq!(output.status.code(), Some(2), "{options:?} {command:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{output:?}"
        );
    }
    assert_eq!(fs::read_to_string(there).unwrap(), "12\n");
}
