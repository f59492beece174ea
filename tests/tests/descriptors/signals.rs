//! E15: signals that the caller ignores or blocks, and those that the runtime handles.

use std::fs::{self, File};

use daemon_harness::{ALL_SIGNALS, Launch, OVERFLOW, Proc, Running, Scene, signal_set};
use daemon_tests::svc::{at_barrier, barrier, in_foreground, named_daemon, ready_daemon, service};

/// The signals by which an overflow of the stack shows. Rust's runtime handles them unless they are
/// ignored when the program begins.
const FAULTS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// All signals but [`FAULTS`].
fn all_but_faults() -> impl Iterator<Item = i32> + Clone {
    (1..=64).filter(|signal| signal_set([*signal]) & ALL_SIGNALS != 0 && !FAULTS.contains(signal))
}

/// Fails unless nothing is blocked and only SIGPIPE ignored.
fn assert_reset(process: &Proc) {
    assert_eq!(
        (process.ignored(), process.blocked()),
        (vec![libc::SIGPIPE], vec![])
    );
}

/// Fails unless, in addition, the runtime's handlers are in place.
fn assert_as_the_service_wants(process: &Proc) {
    assert_reset(process);
    let caught = process.caught();
    assert!(
        FAULTS.iter().all(|fault| caught.contains(fault)),
        "{caught:?}"
    );
}

#[test]
fn e15_everything_ignored_and_blocked_is_reset() {
    let scene = Scene::new();
    let daemon = ready_daemon(&scene, service(&scene).ignoring_all().blocking_all());
    assert_reset(&daemon);
    scene.stop(&daemon);
}

#[test]
fn e15_the_runtimes_handlers_are_kept() {
    let scene = Scene::new();
    let daemon = ready_daemon(
        &scene,
        service(&scene).ignoring(all_but_faults()).blocking_all(),
    );
    assert_as_the_service_wants(&daemon);
}

#[test]
fn e15_each_kind_of_signal_is_reset() {
    // Asked for alone, as one that is reset by accident, with another, would not be seen above.
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    for signal in [
        libc::SIGCHLD,
        libc::SIGHUP,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGTTOU,
        32,
        33,
        first,
        last,
    ] {
        let scene = Scene::new();
        let daemon = ready_daemon(
            &scene,
            service(&scene).ignoring([signal]).blocking([signal]),
        );
        assert_as_the_service_wants(&daemon);
    }
}

#[test]
fn e15_in_the_foreground_too() {
    let scene = Scene::new();
    let launch = service(&scene).ignoring(all_but_faults()).blocking_all();
    let running = in_foreground(&scene, launch, "shutdown");
    assert_as_the_service_wants(&running.process());
    running.signal(libc::SIGTERM);
    running.wait();
    scene.assert_no_leftovers();
}

#[test]
fn e15_what_the_daemon_spawns_has_every_default() {
    let scene = Scene::new();
    let launch = service(&scene)
        .arg("init:spawn=exec sleep 1000")
        .ignoring_all()
        .blocking_all();
    launch.run().assert_ready();
    let child = || {
        scene
            .processes()
            .into_iter()
            .find(|process| process.name().as_deref() == Some("sleep"))
    };
    scene.wait_until("the child", || child().is_some());
    let child = child().unwrap();
    // glibc has the two signals that it keeps for itself ignored in whatever is spawned.
    let ignored: Vec<_> = child
        .ignored()
        .into_iter()
        .filter(|signal| ![32, 33].contains(signal))
        .collect();
    assert_eq!((ignored, child.blocked()), (vec![], vec![]));
}

#[test]
fn e15_children_can_be_waited_for_although_the_caller_ignores_their_end() {
    let scene = Scene::new();
    let start = |script: &str| service(&scene).arg(script).ignoring([libc::SIGCHLD]).run();
    start("init:sh=exit 3")
        .assert_exited(1)
        .assert_says(&["exit status: 3"]);
    start("configure:sh=exit 4")
        .assert_exited(78)
        .assert_says(&["exit status: 4"]);
    start("init:kill=9").assert_exited(128 + 9);
    scene.assert_no_leftovers();
    start("init:sh=exit 0").assert_ready();
}

#[test]
fn e15_termination_is_heard_although_the_caller_ignores_and_blocks_it() {
    let scene = Scene::new();
    let all = [libc::SIGTERM, libc::SIGINT];
    let launch = service(&scene)
        .arg("init:attend")
        .ignoring(all)
        .blocking(all);
    let daemon = ready_daemon(&scene, launch);
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).code(), Some(0));
}

/// A start whose `init` hook waits at the barrier.
struct Waiting<'s> {
    starter: Running<'s>,
    daemon: Proc,
    barrier: File,
}

fn waiting<'s>(
    scene: &'s Scene,
    surroundings: impl FnOnce(Launch<'s>) -> Launch<'s>,
) -> Waiting<'s> {
    let barrier = barrier(scene, "barrier");
    let starter =
        surroundings(service(scene).arg(format!("init:cat={}", barrier.display()))).spawn();
    let barrier = at_barrier(scene, &barrier);
    Waiting {
        starter,
        daemon: named_daemon(scene),
        barrier,
    }
}

#[test]
fn e15_what_nohup_ignores_stays_ignored_in_the_starter_alone() {
    let callers = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
    let scene = Scene::new();
    let Waiting {
        starter,
        daemon,
        barrier,
    } = waiting(&scene, |launch| launch.ignoring(all_but_faults()));
    let mut ignored = callers.to_vec();
    ignored.push(libc::SIGPIPE);
    assert_eq!(starter.process().ignored(), ignored);
    assert_as_the_service_wants(&daemon);
    for signal in callers {
        starter.signal(signal);
    }
    drop(barrier);
    starter.wait().assert_ready();
    assert_as_the_service_wants(&scene.daemon());
}

#[test]
fn e15_each_signal_of_nohup_is_kept_by_itself() {
    for kept in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        let scene = Scene::new();
        let Waiting {
            starter,
            barrier: _closed,
            ..
        } = waiting(&scene, |launch| launch.ignoring([kept, libc::SIGTERM]));
        assert_eq!(starter.process().ignored(), [kept, libc::SIGPIPE]);
        starter.signal(kept);
        starter.signal(libc::SIGTERM);
        starter.wait().assert_killed(libc::SIGTERM);
        scene.assert_no_leftovers();
    }
}

#[test]
fn e15_an_overflow_of_the_stack_is_reported() {
    let of_the_main_thread = (OVERFLOW == libc::SIGABRT).then_some("overflow");
    for action in of_the_main_thread.into_iter().chain(["overflowing_thread"]) {
        let scene = Scene::new();
        let started = service(&scene)
            .set("stderr", scene.path("err"))
            .args(["init:expect_shutdown", "main:shutdown"])
            .arg(format!("main:{action}"))
            .ignoring(all_but_faults())
            .blocking_all()
            .run();
        started.assert_ready();
        scene.daemon().signal(libc::SIGTERM);
        let overflown = || {
            fs::read_to_string(scene.path("err"))
                .is_ok_and(|text| text.contains("has overflowed its stack"))
        };
        scene.wait_until("the report", overflown);
    }
}

#[test]
fn e15_an_overflow_of_the_stack_in_init_is_a_failed_start() {
    let scene = Scene::new();
    let started = service(&scene).arg("init:overflow").run();
    started
        .assert_exited(128 + OVERFLOW)
        .assert_says(&[&format!("killed by signal {OVERFLOW}")]);
    scene.assert_no_leftovers();
}
