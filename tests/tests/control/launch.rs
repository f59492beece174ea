//! A program that starts the service and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use daemon_harness::{Launch, Proc, Running, Scene, Started, Stdio, bin, errno_text, require};
use daemon_tests::svc::{service, start_in_init};

/// How many at once.
const MANY: usize = 100;

/// A program that launches the service, with these words; the command is to follow.
fn launcher<'s>(scene: &'s Scene, words: &[&str]) -> Launch<'s> {
    launcher_at(scene, &bin("launcher"), words)
}

fn launcher_at<'s>(scene: &'s Scene, program: &Path, words: &[&str]) -> Launch<'s> {
    scene
        .launch(program)
        .set("pidfile", scene.pidfile())
        .args(words)
        .arg("--")
        .arg(bin("svc"))
        .set("pidfile", scene.pidfile())
}

/// The pid that each launch got, and how many of them were the first.
#[track_caller]
fn pids(done: &Started) -> (BTreeSet<i32>, usize) {
    let mut found = BTreeSet::new();
    let mut first = 0;
    for line in done.stdout.lines().filter(|line| *line != "pauses") {
        let (pid, which) = line.split_once(' ').expect("a pid and a word");
        found.insert(pid.parse().unwrap_or_else(|_| panic!("{done:?}")));
        if which == "first" {
            first += 1;
        }
    }
    (found, first)
}

/// Fails unless each launch of these programs got the pid of the one daemon, and one was the first.
#[track_caller]
fn assert_one(scene: &Scene, done: &[Started]) {
    let (mut all, mut firsts) = (BTreeSet::new(), 0);
    for done in done {
        done.assert_exited(0);
        assert_eq!(done.stderr, "");
        let (found, first) = pids(done);
        all.extend(found);
        firsts += first;
    }
    assert_eq!(all, BTreeSet::from([scene.daemon().pid()]));
    assert_eq!(firsts, 1);
}

#[test]
fn the_caller_gets_the_pid_and_goes_on() {
    let scene = Scene::new();
    let first = launcher(&scene, &[]).run();
    first.assert_exited(0);
    let daemon = scene.daemon();
    assert_eq!(first.stdout, format!("{} first\n", daemon.pid()));
    let second = launcher(&scene, &[]).run();
    second.assert_exited(0);
    assert_eq!(second.stdout, format!("{} already\n", daemon.pid()));
    assert_eq!(scene.daemon().pid(), daemon.pid());
}

#[test]
fn a_hundred_threads_at_once_start_one_instance() {
    let scene = Scene::new();
    let threads = format!("threads={MANY}");
    assert_one(&scene, &[launcher(&scene, &[&threads]).run()]);
}

#[test]
fn a_hundred_processes_at_once_start_one_instance() {
    let scene = Scene::new();
    let mut gate = scene.gate("gate");
    let callers: Vec<_> = (0..MANY)
        .map(|_| launcher(&scene, &[]).behind(&gate).spawn())
        .collect();
    gate.open();
    let done: Vec<_> = callers.into_iter().map(Running::wait).collect();
    assert_one(&scene, &done);
}

/// A program whose three threads have each executed a starter.
fn three_starters(scene: &Scene) -> Running<'_> {
    let caller = launcher(scene, &["threads=3"]).spawn();
    scene.wait_until("three starters", || {
        let starters = Proc::descendants(caller.pid());
        starters.len() == 3
    });
    caller
}

/// The others wait until it is ready, and not for longer.
#[test]
fn an_instance_that_is_starting_is_waited_for() {
    let scene = Scene::new();
    let (starting, inside) = start_in_init(&scene, &[]);
    let caller = three_starters(&scene);
    assert_eq!(caller.stdout(), "");
    drop(inside);
    starting.wait().assert_ready();
    let done = caller.wait();
    done.assert_exited(0);
    assert_eq!(pids(&done), (BTreeSet::from([scene.daemon().pid()]), 0));
}

/// As on a slow machine, where a moment is long.
#[test]
fn an_instance_that_has_not_written_its_pid_is_waited_for() {
    require!(tool("strace"));
    let scene = Scene::new();
    let starting = service(&scene)
        .strace("calls", &["-e", "inject=setsid:delay_enter=3000000"])
        .spawn();
    scene.wait_until("the lock", || {
        !scene.lock_holders(scene.pidfile()).is_empty()
    });
    let done = three_starters(&scene).wait();
    starting.wait().assert_ready();
    done.assert_exited(0);
    assert_eq!(pids(&done), (BTreeSet::from([scene.daemon().pid()]), 0));
}

#[test]
fn where_the_other_fails_it_starts_itself() {
    let scene = Scene::new();
    let (failing, inside) = start_in_init(&scene, &["init:err=too bad"]);
    let caller = three_starters(&scene);
    drop(inside);
    failing.wait().assert_exited(1);
    assert_one(&scene, &[caller.wait()]);
}

#[test]
fn twenty_callers_of_a_service_that_always_fails_give_up() {
    let scene = Scene::new();
    let done = launcher(&scene, &["threads=20"])
        .arg("init:sleep=50")
        .arg("init:err=too bad")
        .run();
    done.assert_exited(1);
    let own = "exit status: 1: cannot initialize: too bad";
    // Whom they met may have ended before it was asked for.
    let others = "exit status: 80: ";
    for line in done.stdout.lines() {
        assert!(line == own || line.starts_with(others), "{line}");
    }
    assert!(done.stdout.contains(own));
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

#[test]
fn a_failure_is_the_starters_own_sentence_and_status() {
    let scene = Scene::new();
    let no_directory = errno_text(libc::ENOENT);
    let cases: [(&[&str], String); 4] = [
        (
            &["init:err=too bad"],
            "exit status: 1: cannot initialize: too bad".into(),
        ),
        (
            &["working_directory=/nowhere"],
            format!("exit status: 91: cannot change the working directory: /nowhere: {no_directory}"),
        ),
        (
            &["init:kill=9"],
            "exit status: 137: cannot start: the daemon was killed by signal 9 (SIGKILL) before it was ready".into(),
        ),
        (
            &["init:status=half", "init:err=bad"],
            "exit status: 1: half\ncannot initialize: bad".into(),
        ),
    ];
    for (arguments, words) in cases {
        let done = launcher(&scene, &[]).args(arguments).run();
        done.assert_exited(1);
        assert_eq!(done.stdout.trim_end(), words);
        assert_eq!(done.stderr, "");
        scene.assert_no_leftovers();
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let scene = Scene::new();
    let done = scene
        .launch(bin("launcher"))
        .set("pidfile", scene.pidfile())
        .args(["--", "/nowhere/svc"])
        .run();
    done.assert_exited(1);
    let words = format!(
        "unknown: cannot execute /nowhere/svc: {}\n",
        errno_text(libc::ENOENT)
    );
    assert_eq!(done.stdout, words);
}

#[test]
fn a_service_that_ends_at_once_is_no_success() {
    let scene = Scene::new();
    let done = launcher(&scene, &[]).arg("main:exit=0").run();
    // Where it is asked before it has ended, it runs.
    if !done.status.success() {
        assert!(done.stdout.contains("the service does not run"), "{done:?}");
    }
}

/// The starter, which is told by SIGTERM, ends its daemon.
#[test]
fn the_limit_leaves_nothing() {
    let scene = Scene::new();
    for hook in ["configure", "init"] {
        let done = launcher(&scene, &["patience=700"])
            .arg(format!("{hook}:eprintln=thinking"))
            .arg(format!("{hook}:hang"))
            .run();
        done.assert_exited(1);
        assert!(done.stdout.starts_with("signal: 15"), "{done:?}");
        assert!(done.stdout.contains("not ready within 700ms"), "{done:?}");
        scene.assert_no_leftovers();
        assert!(!scene.pidfile().exists());
    }
}

/// It waits for another instance, which is not to be ended by it.
#[test]
fn the_limit_holds_while_another_is_starting() {
    let scene = Scene::new();
    let (starting, inside) = start_in_init(&scene, &[]);
    let done = launcher(&scene, &["patience=500"]).run();
    done.assert_exited(1);
    assert!(done.stdout.contains("not ready within 500ms"), "{done:?}");
    drop(inside);
    starting.wait().assert_ready();
    scene.daemon();
}

#[test]
fn a_child_that_keeps_stderr_holds_nobody_up() {
    for hook in ["configure", "init"] {
        let scene = Scene::new();
        let done = launcher(&scene, &["patience=20000"])
            .arg(format!("{hook}:spawn=exec sleep 1000"))
            .run();
        done.assert_exited(0);
        assert_eq!(pids(&done).1, 1);
    }
}

#[test]
fn callers_that_do_not_learn_of_their_children_are_told_by_the_lock() {
    for cares_not in ["ignores", "reaper"] {
        let scene = Scene::new();
        let caller = |words: &[&str]| {
            let mut all = words.to_vec();
            if cares_not == "reaper" {
                all.push("reaper");
                launcher(&scene, &all)
            } else {
                launcher(&scene, &all).ignoring([libc::SIGCHLD])
            }
        };
        let done = caller(&[]).arg("init:err=too bad").run();
        done.assert_exited(1);
        let words = done.stdout.trim_end();
        assert!(words.ends_with(": cannot initialize: too bad"), "{words}");
        scene.assert_no_leftovers();
        assert_one(&scene, &[caller(&["threads=20"]).run()]);
    }
}

/// One whose manager speaks to it, and one that is called as a supervisor is.
#[test]
fn the_callers_manager_is_not_the_services() {
    let scene = Scene::new();
    let socket = scene.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let supervisord = scene.path("supervisord");
    std::fs::copy(bin("launcher"), &supervisord).unwrap();
    for program in [bin("launcher"), supervisord] {
        let mut running = launcher_at(&scene, &program, &["pauses"])
            .stdin(Stdio::Pipe)
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "1000000")
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "http")
            .env("DAEMON_MODE", "foreground")
            .env("DAEMON_NOTIFY_FD", "7")
            .env("MAINPID", "1")
            .descriptor(7, "/dev/null")
            .spawn();
        let mut stdin = running.stdin().expect("a pipe");
        stdin.write_all(b"\n\n").unwrap();
        let done = running.wait();
        done.assert_exited(0);
        assert_eq!(pids(&done), (BTreeSet::from([scene.daemon().pid()]), 1));
        assert!(manager.recv(&mut [0; 100]).is_err(), "the manager was told");
        scene.stop(&scene.daemon());
    }
}

/// What a process looks like from outside: what is to be seen, and how it is.
fn state(process: &Proc) -> BTreeMap<&'static str, String> {
    let status = process.status();
    let ids = (status.ruid, status.groups, status.umask, status.threads);
    // musl unblocks those of its own with the first thread.
    let mut blocked = process.blocked();
    blocked.retain(|signal| !(32..=34).contains(signal));
    BTreeMap::from([
        (
            "children",
            format!("{:?}", Proc::descendants(process.pid())),
        ),
        ("descriptors", format!("{:?}", process.descriptors())),
        ("ignored", format!("{:?}", process.ignored())),
        ("caught", format!("{:?}", process.caught())),
        ("blocked", format!("{blocked:?}")),
        ("environment", format!("{:?}", process.environ())),
        ("directory", process.cwd().display().to_string()),
        ("ids", format!("{ids:?}")),
    ])
}

#[test]
fn the_caller_stays_as_it_was_and_the_daemon_gets_nothing_of_it() {
    let scene = Scene::new();
    let mut caller = launcher(&scene, &["pauses"])
        .hostile()
        .stdin(Stdio::Pipe)
        .spawn();
    let mut stdin = caller.stdin().expect("a pipe");
    let pauses = |times: usize| caller.stdout().matches("pauses").count() == times;
    scene.wait_until("the first pause", || pauses(1));
    let process = caller.process();
    let before = state(&process);
    stdin.write_all(b"\n").unwrap();
    scene.wait_until("the second pause", || pauses(2));
    let after = state(&process);
    for (what, before) in before {
        assert!(before == after[what], "{what}:\n{before}\n{}", after[what]);
    }

    let daemon = scene
        .pid_in_pidfile()
        .and_then(Proc::new)
        .expect("a daemon");
    let own = ["/dev/null", "pipe:", "socket:", "anon_inode:"];
    for open in daemon.descriptors().into_values() {
        let target = open.target.to_string_lossy();
        let known = own.iter().any(|own| target.starts_with(own));
        assert!(known || open.target == scene.pidfile(), "{open:?}");
    }
    assert_eq!(daemon.ignored(), [libc::SIGPIPE]);
    assert!(daemon.blocked().is_empty());
    assert!(!daemon.memory_contains(b"hunter2"));
    drop(stdin);
    caller.wait().assert_exited(0);
}

/// Whatever the service's own settings say, the caller learns that there is an instance.
#[test]
fn own_settings_of_the_service_change_nothing_for_the_caller() {
    let scene = Scene::new();
    let launch = || {
        launcher(&scene, &[])
            .set("already_running", "wait")
            .set("exit_status", "AlreadyRunning:7")
    };
    let first = launch().run();
    let second = launch().run();
    assert_one(&scene, &[first, second]);
}
