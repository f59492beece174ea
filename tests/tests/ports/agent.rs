//! `port_agent`: the first call, many at once, readiness, failures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Running, Scene, Started, bin, errno_text};
use daemon_tests::svc::{at_barrier, barrier};

use super::leading_to;

/// A user's directory, with the agent's socket and pidfile.
fn directory(scene: &Scene) -> PathBuf {
    let path = scene.path("agent");
    if path.exists() {
        return path;
    }
    scene.dir("agent", 0o700, None)
}

fn call<'s>(scene: &'s Scene, words: &[&str]) -> Launch<'s> {
    let launch = scene.launch(bin("port_agent"));
    launch.arg("--directory").arg(directory(scene)).args(words)
}

/// What a call that was answered says: the agent's pid and the number of the question.
#[track_caller]
fn answer(called: &Started) -> (i32, u32) {
    let mut words = called.assert_ready().stdout.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let (pid, count) = (number(), number());
    assert_eq!(called.stderr, "");
    (
        pid.expect("a pid"),
        u32::try_from(count.expect("a number")).unwrap(),
    )
}

#[test]
fn the_first_call_is_answered_by_the_agent_that_it_starts() {
    let scene = Scene::new();
    let inherited = scene.file("inherited", "");
    let first = call(&scene, &["ask", "hello"])
        .descriptor(300, &inherited)
        .env("SECRET", "hunter2")
        .run();
    let agent = scene.daemon();
    assert_eq!(first.stdout, format!("{} 1 hello\n", agent.pid()));
    assert!(leading_to(&agent, &inherited).is_empty());
    assert!(!agent.memory_contains(b"hunter2"));
    assert!(scene.is_top(&agent) && agent.stat().session != agent.pid());
    assert_eq!(agent.cwd(), Path::new("/"));

    assert_eq!(
        answer(&call(&scene, &["ask", "more"]).run()),
        (agent.pid(), 2)
    );
    call(&scene, &["quit"]).run().assert_ready();
    assert!(scene.exit_status(&agent).success());
    assert!(!directory(&scene).join("pid").exists());
    assert!(!directory(&scene).join("socket").exists());
    let (pid, number) = answer(&call(&scene, &["ask", "again"]).run());
    assert_ne!(pid, agent.pid());
    assert_eq!(number, 1);
}

#[test]
fn quitting_where_there_is_no_agent_is_no_error() {
    let scene = Scene::new();
    call(&scene, &["quit"]).run().assert_ready();
    scene.assert_no_leftovers();
}

#[test]
fn many_first_calls_at_once_make_one_agent() {
    const CALLS: u32 = 40;
    let scene = Scene::new();
    let mut gate = scene.gate("gate");
    let start = |_| call(&scene, &["ask", "hello"]).behind(&gate).spawn();
    let calls: Vec<Running<'_>> = (0..CALLS).map(start).collect();
    gate.open();
    let answers: Vec<_> = calls.into_iter().map(|call| answer(&call.wait())).collect();
    let numbers: BTreeSet<u32> = answers.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (1..=CALLS).collect());
    let agent = scene.daemon();
    assert!(answers.iter().all(|(pid, _)| *pid == agent.pid()));
}

#[test]
fn nobody_goes_on_before_it_is_ready() {
    let scene = Scene::new();
    let unlock = barrier(&scene, "unlock");
    let words = ["--unlock", unlock.to_str().unwrap(), "ask", "hello"];
    let calls: Vec<_> = (0..3).map(|_| call(&scene, &words).spawn()).collect();
    let held = at_barrier(&scene, &unlock);
    assert!(calls.iter().all(Running::is_running));
    assert!(!directory(&scene).join("socket").exists());
    drop(held);
    let pids: BTreeSet<i32> = calls
        .into_iter()
        .map(|call| answer(&call.wait()).0)
        .collect();
    assert_eq!(pids, [scene.daemon().pid()].into());
}

/// The caller shows the agent's own error, with its causes, in one line.
#[test]
fn an_agent_that_fails_says_why_to_the_caller() {
    let scene = Scene::new();
    let socket = directory(&scene).join("socket");
    scene.dir(&socket, 0o755, None);
    let called = call(&scene, &["ask", "hello"])
        .env("RUST_BACKTRACE", "1")
        .run();
    called.assert_exited(1);
    let reason = errno_text(libc::EADDRINUSE);
    let text = format!("cannot listen at {}: {reason}\n", socket.display());
    assert!(called.stderr.ends_with(&text), "{called:?}");
    assert_eq!(called.stderr.lines().count(), 1, "{called:?}");
    scene.assert_no_leftovers();
    assert!(!directory(&scene).join("pid").exists());
}

#[test]
fn one_that_was_killed_is_followed_by_another() {
    let scene = Scene::new();
    let (first, _) = answer(&call(&scene, &["ask", "hello"]).run());
    let agent = scene.daemon();
    agent.kill();
    scene.exit_status(&agent);
    let (second, _) = answer(&call(&scene, &["ask", "hello"]).run());
    assert_ne!(first, second);
    assert_eq!(scene.daemon().pid(), second);
}
