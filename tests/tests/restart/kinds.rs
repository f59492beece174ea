//! Services of every kind can be restarted; those that cannot hand over are ended first.

use daemon_harness::{Scene, errno_text, require};
use daemon_tests::ctl::{Ctl, ORDINARY};
use daemon_tests::svc::{ready_daemon, service};

use crate::{answering, assert_owner, request};

#[test]
fn one_that_does_not_run_is_started() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.run("restart").assert_ready();
    let first = assert_owner(&scene);
    first.kill();
    scene.exit_status(&first);
    ctl.run("restart").assert_ready();
    assert_ne!(assert_owner(&scene).pid(), first.pid());
}

#[test]
fn one_without_a_control_socket_is_ended_first() {
    let scene = Scene::new();
    let old = ready_daemon(&scene, service(&scene));
    answering(&scene).run("restart").assert_ready();
    assert!(scene.exit_status(&old).signal_or_success());
    assert_owner(&scene);
}

/// It could not bind its port as long as the old one has it.
#[test]
fn one_that_has_made_its_listener_itself_is_ended_first() {
    let scene = Scene::new();
    for settings in [Ctl::new(&scene), Ctl::new(&scene).with("reloads", "")] {
        let ctl = settings.with("alone", scene.path("address"));
        ctl.run("restart").assert_ready();
        let mut old = assert_owner(&scene);
        // More than once: the new instance must not keep the lock of the restart in which it was
        // started.
        for _ in 0..2 {
            ctl.run("restart").assert_ready();
            assert!(old.is_gone());
            old = assert_owner(&scene);
        }
        ctl.succeeds("stop");
    }
}

/// A limit: the new instance runs while the old one has the port that is not handed over.
#[test]
fn one_that_has_made_some_of_its_listeners_itself_goes_on() {
    let scene = Scene::new();
    let ctl = answering(&scene).with("alone", scene.path("other"));
    let old = ctl.start();
    ctl.run("restart")
        .assert_exited(1)
        .assert_says(&[&errno_text(libc::EADDRINUSE)]);
    assert_eq!(assert_owner(&scene).pid(), old.pid());
}

#[test]
fn one_that_does_not_end_is_killed() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("stubborn", "");
    let old = ctl.start();
    ctl.run("restart --timeout 200ms").assert_ready();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&scene.exit_status(&old)),
        Some(libc::SIGKILL)
    );
    assert_ne!(scene.daemon().pid(), old.pid());
}

/// One may stop what another has just started, and that one says so.
#[test]
fn many_restarts_at_once_of_one_that_has_to_end_first_leave_one_owner() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    ctl.start();
    let restarts: Vec<_> = (0..6).map(|_| ctl.command("restart").spawn()).collect();
    let ends: Vec<_> = restarts
        .into_iter()
        .map(|restart| restart.wait().status.code())
        .collect();
    assert!(
        ends.contains(&Some(0)) && ends.iter().all(|end| matches!(end, Some(0 | 1 | 80 | 143))),
        "{ends:?}"
    );
    let owner = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(owner.pid()));
}

#[test]
fn one_that_has_given_up_root_is_replaced_by_another() {
    require!(root());
    let scene = Scene::new();
    let home = scene.dir("home", 0o755, Some(65534));
    let ctl = Ctl::new(&scene)
        .with("user", "nobody")
        .with("listen", home.join("address"));
    let old = ctl.start();
    for _ in 0..3 {
        ctl.run("restart").assert_ready();
        scene.wait_until("the end of the old one", || scene.processes().len() == 1);
        let new = scene.daemon();
        assert_eq!(
            (new.status().ruid, new.status().suid, new.status().capprm),
            (65534, 65534, 0)
        );
        assert_eq!(scene.pid_in_pidfile(), Some(new.pid()));
        let address = std::fs::read_to_string(home.join("address"))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(request(address).unwrap(), new.pid());
    }
    assert!(old.is_gone());
}

#[test]
fn an_ordinary_user_restarts_an_own_service() {
    require!(root());
    let scene = Scene::new();
    let place = scene.dir("place", 0o755, Some(ORDINARY));
    let ctl = Ctl::ordinary(&scene).with("listen", place.join("address"));
    let old = ctl.start();
    ctl.run("restart").assert_ready();
    scene.wait_until("the end of the old one", || scene.processes().len() == 1);
    let new = scene.daemon();
    assert_eq!((new.status().ruid, old.is_gone()), (ORDINARY, true));
    let address = std::fs::read_to_string(place.join("address"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(request(address).unwrap(), new.pid());
}

/// The end of a service without the library's `shutdown()`.
trait Ended {
    fn signal_or_success(&self) -> bool;
}

impl Ended for std::process::ExitStatus {
    fn signal_or_success(&self) -> bool {
        self.success() || std::os::unix::process::ExitStatusExt::signal(self) == Some(libc::SIGTERM)
    }
}
