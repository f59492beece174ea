//! Nothing is wrong with a good daemon, and all that is wrong with bad ones is seen.

use std::path::Path;

use daemon_harness::require;

use crate::{GOOD_DAEMON, Place, Script, examine, keys, verdicts};

/// The good daemon with these settings, as a command.
fn good_daemon(settings: &[&str]) -> Vec<String> {
    let words = ["/usr/bin/env"]
        .iter()
        .chain(settings)
        .chain([&GOOD_DAEMON]);
    words.map(ToString::to_string).collect()
}

#[test]
fn a_good_daemon_passes_everything() {
    require!(root(), tool("strace"));
    let place = Place::new();
    let pidfile = place.pidfile();
    let pidfile = pidfile.to_str().unwrap();
    let setting = format!("GOOD_PIDFILE={pidfile}");
    let status = format!("{setting} exec {GOOD_DAEMON} status");
    let options = ["--json", "--pidfile", pidfile, "--status", &status];
    let output = examine(&options, &good_daemon(&[&setting, "GOOD_USER=nobody"]));
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
    let output = examine(&["--json"], &[GOOD_DAEMON]);
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
    let place = Place::new();
    let pidfile = place.pidfile();
    let setting = format!("GOOD_PIDFILE={}", pidfile.display());
    for lie in ["exit 0", "exit 3"] {
        let options = [
            "--json",
            "--pidfile",
            pidfile.to_str().unwrap(),
            "--status",
            lie,
        ];
        assert_eq!(
            verdicts(&examine(&options, &good_daemon(&[&setting])))["C1"],
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
fn what_stays_in_the_foreground_is_no_daemon() {
    let output = Script::new("exec sleep 1000\n").examine(&["--timeout", "1"]);
    let verdicts = verdicts(&output);
    assert_eq!(keys(&verdicts, "fail"), ["start"]);
    assert_eq!(output.status.code(), Some(1));
}
