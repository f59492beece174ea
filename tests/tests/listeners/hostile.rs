//! E6: a service that obeys the protocol, to harm who controls it. Every command has ended when its
//! time is up.

use std::time::{Duration, Instant};

use daemon_harness::{Launch, Proc, Scene, Started, bin};
use daemon_tests::ctl::restart_lock;

/// The service `hostile` in a scene, with how it answers.
struct Hostile<'s> {
    scene: &'s Scene,
    words: String,
}

impl<'s> Hostile<'s> {
    /// Started, and about to answer.
    fn new(scene: &'s Scene, words: &str) -> (Self, Proc) {
        let hostile = Self {
            scene,
            words: format!("pidfile={} {words}", scene.pidfile().display()),
        };
        hostile.command("start").run().assert_ready();
        let daemon = scene.daemon();
        let listens = || {
            daemon
                .descriptors()
                .values()
                .filter(|open| is_socket(open))
                .count()
                >= 2
        };
        scene.wait_until("its own control socket", listens);
        (hostile, daemon)
    }

    fn command(&self, line: &str) -> Launch<'s> {
        let launch = self
            .scene
            .launch(bin("hostile"))
            .args(line.split_whitespace());
        launch
            .env("HOSTILE", &self.words)
            .limit(Duration::from_secs(15))
    }

    fn run(&self, line: &str) -> (Started, Duration) {
        let began = Instant::now();
        (self.command(line).run(), began.elapsed())
    }
}

fn is_socket(open: &daemon_harness::Descriptor) -> bool {
    open.target.to_string_lossy().starts_with("socket:")
}

/// Whoever closes the last copy of it waits for an hour.
#[test]
fn e6_a_reload_does_not_wait_for_what_came_unasked() {
    for (how, status) in [
        ("lingering", 0),
        ("later", 0),
        ("instead", 1),
        ("silence", 1),
    ] {
        let scene = Scene::new();
        let (hostile, daemon) = Hostile::new(&scene, &format!("reload={how}"));
        let (reload, took) = hostile.run("reload --timeout 1s");
        reload.assert_exited(status);
        assert!(took < Duration::from_secs(8), "{how}: {took:?}");
        assert!(!daemon.is_gone());
    }
}

/// It hands over what blocks, and the new instance, which takes no socket, closes it.
#[test]
fn e6_a_restart_does_not_wait_for_a_socket_that_lingers() {
    let scene = Scene::new();
    let (hostile, old) = Hostile::new(&scene, "sockets=lingering stays");
    let (restart, took) = hostile.run("restart --timeout 1s");
    restart.assert_ready().assert_says(&[
        "closed the socket x (a TCP connection at",
        "did not end in 1s and was killed",
    ]);
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(old.is_gone());
    assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
}

#[test]
fn e6_what_does_not_match_is_refused_and_the_old_one_goes_on() {
    for (how, says) in [
        ("more", "does not speak the protocol"),
        ("absurd", "does not speak the protocol"),
        ("fewer", "the limit on open files"),
    ] {
        let scene = Scene::new();
        let (hostile, old) = Hostile::new(&scene, &format!("sockets={how}"));
        let (restart, took) = hostile.run("restart --timeout 1s");
        restart.assert_exited(1).assert_says(&[says]);
        assert!(took < Duration::from_secs(8), "{how}: {took:?}");
        assert_eq!(scene.daemon().pid(), old.pid(), "{how}");
    }
}

/// It answers, but never to the end: as one that hangs it is stopped first.
#[test]
fn e6_a_hand_over_that_does_not_end_is_given_up() {
    for how in ["drip", "silence"] {
        let scene = Scene::new();
        let (hostile, old) = Hostile::new(&scene, &format!("sockets={how} stays"));
        let (restart, took) = hostile.run("restart --timeout 500ms");
        restart.assert_ready();
        assert!(took < Duration::from_secs(14), "{how}: {took:?}");
        assert!(old.is_gone(), "{how}");
        assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
    }
}

/// Names from a service reach root's terminal.
#[test]
fn e6_names_are_shown_without_control_characters() {
    let scene = Scene::new();
    let (hostile, _) = Hostile::new(&scene, "sockets=escape");
    let (restart, _) = hostile.run("restart");
    restart
        .assert_ready()
        .assert_says(&["closed the socket", "title"]);
    assert!(
        !restart.stderr.chars().any(|c| c.is_control() && c != '\n'),
        "{:?}",
        restart.stderr
    );
}

/// A restart that never ends, as far as the next can tell.
#[test]
fn e6_another_restart_is_waited_for_but_not_for_ever() {
    let scene = Scene::new();
    let (hostile, old) = Hostile::new(&scene, "sockets=silence");
    let _lock = restart_lock(&scene.pidfile());
    let restart = hostile
        .command("restart")
        .limit(Duration::from_secs(90))
        .run();
    restart
        .assert_exited(1)
        .assert_says(&["another restart has been under way for 30s"]);
    assert_eq!(scene.daemon().pid(), old.pid());
}
