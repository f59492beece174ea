//! E20 and E29: many at once, and locks that no service holds.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daemon_harness::{Launch, PROMPT, Proc, Running, Scene, Started, require};
use daemon_tests::svc::{ready_daemon, service};
use nix::fcntl::{Flock, FlockArg};

use crate::{Home, content, naming};

const STARTERS: usize = 50;

/// Starts fifty at the same moment; what became of them, those that succeeded first.
fn race<'s>(scene: &'s Scene, launch: impl Fn() -> Launch<'s>) -> (Vec<Started>, Vec<Started>) {
    let mut gate = scene.gate("gate");
    let all: Vec<_> = (0..STARTERS)
        .map(|_| launch().behind(&gate).spawn())
        .collect();
    gate.open();
    all.into_iter()
        .map(Running::wait)
        .partition(|started| started.status.success())
}

/// Whether a refused start names the daemon, which may have been starting still.
fn names(refused: &Started, daemon: &Proc) -> bool {
    let named = format!("held by pid {}", daemon.pid());
    let said = refused.stderr.trim_end_matches('\n');
    said.strip_suffix(", which is still starting")
        .unwrap_or(said)
        .ends_with(&named)
}

/// Fails unless one has won, and the others say so and have changed nothing.
fn assert_one_winner(
    scene: &Scene,
    pidfile: &std::path::Path,
    (winners, losers): &(Vec<Started>, Vec<Started>),
) {
    assert_eq!(
        (winners.len(), losers.len()),
        (1, STARTERS - 1),
        "{winners:#?}"
    );
    let daemon = scene.daemon();
    assert_eq!(content(pidfile), naming(daemon.pid()));
    for loser in losers {
        loser.assert_exited(80);
        // At most a second is spent on finding out whom to name.
        assert!(
            names(loser, &daemon) || loser.elapsed > Duration::from_secs(1),
            "{loser:#?}"
        );
    }
    assert!(losers.iter().any(|loser| names(loser, &daemon)));
    scene.stop(&daemon);
    scene.assert_no_leftovers();
}

/// The race over a pidfile with this content, or none.
fn race_over(found: Option<&[u8]>) {
    let scene = Scene::new();
    race_at_home(&Home::own(&scene), found);
}

fn race_at_home(home: &Home<'_>, found: Option<&[u8]>) {
    let pidfile = home.path("service.pid");
    if let Some(found) = found {
        home.file("service.pid", found);
    }
    assert_one_winner(
        home.scene,
        &pidfile,
        &race(home.scene, || home.service(&pidfile)),
    );
}

#[test]
fn e20_fifty_starters_over_no_file() {
    for _round in 0..3 {
        race_over(None);
    }
}

#[test]
fn e20_fifty_starters_over_a_stale_file() {
    race_over(Some(b"999999999\n"));
}

#[test]
fn e20_fifty_starters_over_a_file_that_names_another_process() {
    // An ordinary user may not look at that process.
    let scene = Scene::new();
    for home in Home::all(&scene) {
        race_at_home(&home, Some(b"1\n"));
        fs::remove_file(scene.path("gate")).unwrap();
    }
}

#[test]
fn e20_fifty_starters_over_an_empty_file() {
    race_over(Some(b""));
}

#[test]
fn e20_fifty_starters_over_garbage() {
    race_over(Some(b"\0\xff\n\n-1 no pid"));
}

#[test]
fn e20_fifty_starters_over_an_over_long_file() {
    race_over(Some(&vec![b'7'; 1 << 20]));
}

#[test]
fn e20_fifty_starters_of_an_ordinary_user_with_any_umask() {
    require!(root());
    for umask in [0, 0o022, 0o777] {
        let scene = Scene::new();
        let home = Home::ordinary(&scene);
        let pidfile = home.path("service.pid");
        let raced = race(&scene, || home.service(&pidfile).umask(umask));
        assert_one_winner(&scene, &pidfile, &raced);
    }
}

#[test]
fn e20_fifty_starters_of_a_service_that_gives_root_up() {
    require!(root());
    let scene = Scene::new();
    let (winners, losers) = race(&scene, || service(&scene).set("user", "nobody"));
    assert_eq!((winners.len(), losers.len()), (1, STARTERS - 1));
    let daemon = scene.daemon();
    assert!(losers.iter().all(|loser| loser.status.code() == Some(80)));
    assert!(
        losers.iter().any(|loser| names(loser, &daemon)),
        "{losers:#?}"
    );
}

#[test]
fn e20_fifty_starters_of_a_service_that_cannot_start() {
    let scene = Scene::new();
    let (winners, losers) = race(&scene, || service(&scene).arg("init:err=no"));
    assert_eq!(winners.len(), 0);
    assert!(
        losers
            .iter()
            .all(|loser| matches!(loser.status.code(), Some(1 | 80))),
        "{losers:#?}"
    );
    assert!(losers.iter().any(|loser| loser.status.code() == Some(1)));
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
    ready_daemon(&scene, service(&scene));
}

#[test]
fn e20_an_ordinary_users_file_can_be_opened_from_its_first_moment() {
    require!(root(), tool("strace"));
    let scene = Scene::new();
    let home = Home::ordinary(&scene);
    let pidfile = home.path("service.pid");
    let start = || home.service(&pidfile).umask(0o777);
    // The first starter stands still when it has created the file.
    let slow = start()
        .strace("slow", &["-e", "inject=fchmod:delay_enter=700000"])
        .spawn();
    scene.wait_until("the file", || pidfile.exists());
    let mut statuses = [start().run().status.code(), slow.wait().status.code()];
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(0), Some(80)]);
}

#[test]
fn e20_a_start_while_the_older_one_ends() {
    let scene = Scene::new();
    for _round in 0..15 {
        let older = ready_daemon(&scene, service(&scene));
        older.signal(libc::SIGTERM);
        let started = service(&scene).run();
        scene.exit_status(&older);
        if started.status.success() {
            let newer = scene.daemon();
            assert_eq!(scene.pid_in_pidfile(), Some(newer.pid()));
            scene.stop(&newer);
        } else {
            started.assert_exited(80);
        }
        scene.assert_no_leftovers();
    }
}

/// Does this in another thread, again and again, while the service is started and stopped some
/// times.
fn starts_despite(scene: &Scene, probe: impl Fn() + Sync) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                probe();
            }
        });
        // A panic here must not leave the other thread at work for ever.
        let outcome = (0..15).try_for_each(|_| {
            let started = service(scene).run();
            if !started.status.success() {
                return ControlFlow::Break(started);
            }
            scene.stop(&scene.daemon());
            ControlFlow::Continue(())
        });
        over.store(true, Ordering::Relaxed);
        assert!(outcome.is_continue(), "{outcome:#?}");
    });
}

#[test]
fn e29_probes_that_read_never_make_a_start_fail() {
    let scene = Scene::new();
    let (pidfile, locks) = (scene.pidfile(), "/proc/locks");
    starts_despite(&scene, || {
        let _ = (fs::read(&pidfile), fs::metadata(&pidfile), fs::read(locks));
    });
}

#[test]
fn e29_probes_that_take_the_lock_for_a_moment_do_not_either() {
    let scene = Scene::new();
    let pidfile = scene.file("service.pid", "999999999\n");
    starts_despite(&scene, || {
        let probe =
            File::open(&pidfile).map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock));
        thread::sleep(Duration::from_millis(1));
        drop(probe);
        thread::sleep(Duration::from_millis(2));
    });
}

/// What may be found in a pidfile that somebody has locked who is no service.
const FOUND: [&str; 3] = ["", "999999999\n", "1\n"];

/// A lock on such a file.
fn locked(home: &Home<'_>, found: &str) -> Flock<File> {
    let file = File::open(home.file("service.pid", found)).unwrap();
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| errno)
        .unwrap()
}

/// A start while such a lock is held for so long. On a busy machine it may be held for longer than
/// the start waits: then a refusal says nothing, and it is done again.
fn held_for<'s>(
    time: Duration,
    home: &Home<'_>,
    found: &str,
    launch: impl Fn() -> Launch<'s>,
) -> Started {
    loop {
        let lock = locked(home, found);
        let began = Instant::now();
        let running = launch().spawn();
        thread::sleep(time);
        drop(lock);
        let held = began.elapsed();
        let started = running.wait();
        if started.status.success() || held < Duration::from_millis(150) {
            return started;
        }
    }
}

#[test]
fn e29_a_lock_that_is_held_for_a_tenth_of_a_second_does_not_make_a_start_fail() {
    for found in FOUND {
        let scene = Scene::new();
        for home in Home::all(&scene) {
            let pidfile = home.path("service.pid");
            held_for(Duration::from_millis(100), &home, found, || {
                home.service(&pidfile)
            })
            .assert_ready();
            assert_eq!(content(&pidfile), naming(scene.daemon().pid()));
            scene.stop(&scene.daemon());
        }
    }
}

#[test]
fn e29_a_lock_that_is_held_for_ever_is_waited_for_no_longer_than_a_second() {
    for found in FOUND {
        let scene = Scene::new();
        for home in Home::all(&scene) {
            let lock = locked(&home, found);
            let pidfile = home.path("service.pid");
            let started = home.service(&pidfile).run();
            started
                .assert_exited(80)
                .assert_says(&["already running", "service.pid"]);
            assert!(
                (Duration::from_millis(200)..PROMPT).contains(&started.elapsed),
                "{started:?}"
            );
            // Whoever is named in the file does not hold it.
            assert!(
                !started.stderr.contains("pid 1\n") && !started.stderr.contains("999999999"),
                "{started:?}"
            );
            assert_eq!(content(&pidfile), found);
            drop(lock);
            home.service(&pidfile).run().assert_ready();
            scene.stop(&scene.daemon());
        }
    }
}

#[test]
fn e29_a_lock_that_is_held_for_a_moment_does_no_harm_without_proc_either() {
    require!(root());
    let scene = Scene::new();
    // Nobody can tell that the process that is named, which lives, does not hold it.
    let home = Home::own(&scene);
    let launch = || home.service(home.path("service.pid")).without_proc();
    held_for(Duration::from_millis(20), &home, "1\n", launch).assert_ready();
}
