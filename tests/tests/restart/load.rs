//! Restarts under constant load: no request fails.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use daemon_harness::{Descriptor, Launch, PATIENCE, Proc, Scene, require};
use daemon_tests::ctl::{Ctl, restart_lock};

use crate::{address, answer, answering, assert_owner, request};

const CLIENTS: usize = 3;

/// Requests, one after the other from each client, for as long as `work` takes. All must be
/// answered; by whom, and how many there were.
fn under_load(address: SocketAddr, work: impl FnOnce()) -> (BTreeSet<i32>, usize) {
    let over = AtomicBool::new(false);
    let client = || {
        let mut answers = Vec::new();
        while !over.load(Ordering::Relaxed) {
            answers.push(
                request(address)
                    .unwrap_or_else(|error| panic!("request {}: {error}", answers.len())),
            );
        }
        answers
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let answers = clients
            .into_iter()
            .flat_map(|client| client.join().expect("every request is answered"));
        let answers: Vec<_> = answers.collect();
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (answers.iter().copied().collect(), answers.len())
    })
}

/// A restart as systemd runs `ExecReload=`: it ends before the old instance does.
fn as_managers_command<'s>(ctl: &Ctl<'s>, old: &Proc) -> Launch<'s> {
    ctl.command("restart").env("MAINPID", old.pid().to_string())
}

/// Restarts, and waits until the new instance answers.
#[track_caller]
fn restart(ctl: &Ctl<'_>, scene: &Scene) -> i32 {
    ctl.run("restart").assert_ready();
    let new = scene.pid_in_pidfile().expect("the new one's");
    scene.wait_until("the new one to answer", || {
        request(address(scene)).is_ok_and(|pid| pid == new)
    });
    new
}

#[test]
fn no_request_fails_however_often_it_is_restarted() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let mut owners = BTreeSet::from([ctl.start().pid()]);
    let (answerers, count) = under_load(address(&scene), || {
        owners.extend((0..12).map(|_| restart(&ctl, &scene)));
    });
    assert_eq!(owners.len(), 13);
    assert!(
        answerers.is_subset(&owners) && answerers.len() > 6,
        "{answerers:?} of {owners:?}"
    );
    assert!(count > 200, "there were only {count} requests");
    assert!(owners.contains(&assert_owner(&scene).pid()));
}

#[test]
fn restarts_and_starts_at_once_leave_one_owner_and_lose_no_request() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    under_load(address(&scene), || {
        let restarts: Vec<_> = (0..5).map(|_| ctl.command("restart").spawn()).collect();
        let starts: Vec<_> = (0..20).map(|_| ctl.command("start").spawn()).collect();
        for restart in restarts {
            restart.wait().assert_ready();
        }
        for start in starts {
            start.wait().assert_exited(80);
        }
    });
    assert_owner(&scene);
}

/// The time that a restart waits for is another restart's, and not that of all those before it.
#[test]
fn restarts_one_after_the_other_may_take_longer_than_one_may() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    let lock = restart_lock(&scene.pidfile());
    let restart = ctl.command("restart").limit(PATIENCE * 2).spawn();
    // Longer than the 30 seconds that it waits, with two changes of the owner.
    for owner in [1, old.pid()] {
        thread::sleep(Duration::from_secs(17));
        lock.write_all_at(format!("{owner}\n").as_bytes(), 0)
            .expect("the pidfile is written");
        assert!(restart.is_running());
    }
    drop(lock);
    restart.wait().assert_ready();
    assert_owner(&scene);
}

#[test]
fn the_old_one_answers_what_it_has_accepted() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    let open = TcpStream::connect(address(&scene)).unwrap();
    // One after the other is accepted.
    assert_eq!(request(address(&scene)).unwrap(), old.pid());
    let restart = ctl.command("restart").spawn();
    scene.wait_until("the new one", || {
        scene.pid_in_pidfile().is_some_and(|pid| pid != old.pid())
    });
    let new = scene.pid_in_pidfile().unwrap();
    scene.wait_until("the new one to answer", || {
        request(address(&scene)).is_ok_and(|pid| pid == new)
    });
    assert!(!old.is_gone());
    // It has nothing to do with the service any more, which can be controlled.
    assert!(ctl.succeeds("status").contains(&new.to_string()));
    ctl.run("start").assert_exited(80);
    assert!(
        restart.is_running(),
        "it returns when the old one has ended"
    );
    assert_eq!(answer(open).unwrap(), old.pid());
    assert!(scene.exit_status(&old).success());
    assert_eq!(restart.wait().assert_ready().stderr, "");
    assert_owner(&scene);
}

/// One that answers its last requests is not in the way of those that come after.
#[test]
fn the_new_one_can_end_before_the_old_one_has() {
    for (signal, status) in [(libc::SIGTERM, 3), (libc::SIGKILL, 1)] {
        let scene = Scene::new();
        let ctl = answering(&scene);
        let old = ctl.start();
        let open = TcpStream::connect(address(&scene)).unwrap();
        request(address(&scene)).unwrap();
        as_managers_command(&ctl, &old).run().assert_ready();
        let new = Proc::new(scene.pid_in_pidfile().unwrap()).unwrap();
        new.signal(signal);
        scene.exit_status(&new);
        ctl.run("status").assert_exited(status);
        ctl.run("start").assert_ready();
        assert!(!old.is_gone());
        drop(open);
        scene.exit_status(&old);
        assert_owner(&scene);
    }
}

/// As with sockets from a manager: the address is the one that the first instance chose.
#[test]
fn the_address_stays() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    let before = address(&scene);
    ctl.run("restart").assert_ready();
    assert_eq!(address(&scene), before);
    assert_owner(&scene);
}

/// A limit: `O_NONBLOCK` is the listener's, not the descriptor's.
#[test]
fn the_new_one_makes_the_listener_block_for_the_old_one_as_well() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    let listens = |open: &Descriptor| open.target.to_string_lossy().starts_with("socket:");
    let blocks = || {
        old.descriptors()
            .values()
            .filter(|open| listens(open))
            .all(|open| open.flags & libc::O_NONBLOCK == 0)
    };
    let _open = TcpStream::connect(address(&scene)).unwrap();
    request(address(&scene)).unwrap();
    assert!(!blocks());
    as_managers_command(&ctl.with("blocking", ""), &old)
        .run()
        .assert_ready();
    assert!(blocks());
}

/// A limit: shutdown(2) ends the listener, where closing the descriptor would do.
#[test]
fn the_old_one_can_end_the_listener_for_the_new_one_as_well() {
    let scene = Scene::new();
    let ctl = answering(&scene).with("shuts", "");
    let old = ctl.start();
    ctl.run("restart").assert_ready();
    scene.exit_status(&old);
    scene.wait_until("the listener's end", || request(address(&scene)).is_err());
}

/// Else a manager that sees the old one end would find that the new one is the restarter's child,
/// and so a stranger.
#[test]
fn the_old_one_ends_after_the_restarter() {
    require!(tool("strace"));
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    let slow = as_managers_command(&ctl, &old)
        .strace("calls", &["-e", "inject=exit_group:delay_enter=500000"]);
    let restarter = slow.spawn().process();
    scene.wait_until("the end of the old one", || old.is_gone());
    assert!(restarter.is_gone());
}
