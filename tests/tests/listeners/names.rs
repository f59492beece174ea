//! E1, D8: which of the passed sockets is meant, and who owns a descriptor.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use daemon_harness::{Scene, bin};
use daemon_tests::activated::Activated;
use daemon_tests::svc::free_address;

use crate::{Listening, ask};

/// The service with sockets from the test. `variables` is shell text, besides `LISTEN_PID` and
/// `LISTEN_FDS`.
fn activated(scene: &Scene, sockets: [OwnedFd; 2], variables: &str, words: &str) -> Activated {
    let variables = format!("LISTEN_PID=$$ LISTEN_FDS=2 {variables}");
    let words = format!("places={} {words}", scene.path("places").display());
    Activated::start(&bin("listening"), sockets, &variables, |service| {
        service.arg("run").env("LISTENING", words);
    })
}

/// The same, once it has opened its sockets.
fn listening(scene: &Scene, sockets: [OwnedFd; 2], variables: &str, words: &str) -> Activated {
    let service = activated(scene, sockets, variables, words);
    scene.wait_until("the service to say where it listens", || {
        fs::read(scene.path("places")).is_ok_and(|places| !places.is_empty())
    });
    service
}

fn tcp() -> (OwnedFd, String) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    (socket.into(), address)
}

fn udp() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").expect("a port").into()
}

fn answers(address: &str) -> (String, i32) {
    ask(address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

#[test]
fn e1_names_decide_and_not_the_order() {
    for words in [
        "web=tcp:127.0.0.1:1 admin=or:127.0.0.1:1",
        "admin=tcp:127.0.0.1:1 web=or:127.0.0.1:1",
    ] {
        let scene = Scene::new();
        let ((web, at_web), (admin, at_admin)) = (tcp(), tcp());
        let service = listening(&scene, [web, admin], "LISTEN_FDNAMES=web:admin", words);
        assert_eq!(
            answers(&at_web),
            ("web".to_owned(), service.pid()),
            "{words}"
        );
        assert_eq!(
            answers(&at_admin),
            ("admin".to_owned(), service.pid()),
            "{words}"
        );
        assert_eq!(service.stopped(), "");
    }
}

#[test]
fn e1_systemd_names_what_has_no_name_after_its_socket_unit() {
    let scene = Scene::new();
    let ((web, at_web), (admin, at_admin)) = (tcp(), tcp());
    let words = "admin=tcp:127.0.0.1:1 web=tcp:127.0.0.1:1";
    let names = "LISTEN_FDNAMES=web.socket:admin.socket";
    let _service = listening(&scene, [web, admin], names, words);
    assert_eq!(
        (answers(&at_web).0, answers(&at_admin).0),
        ("web".to_owned(), "admin".to_owned())
    );
}

/// The address tells which one it is.
#[test]
fn e1_without_names_the_address_decides() {
    let scene = Scene::new();
    let ((one, at_one), (two, at_two)) = (tcp(), tcp());
    let words = format!("admin=tcp:{at_two} web=tcp:{at_one}");
    let _service = listening(&scene, [one, two], "", &words);
    assert_eq!(
        (answers(&at_one).0, answers(&at_two).0),
        ("web".to_owned(), "admin".to_owned())
    );
}

#[test]
fn e1_a_single_one_without_a_name_of_its_type_is_found() {
    let scene = Scene::new();
    let (web, at_web) = tcp();
    let words = "web=tcp:127.0.0.1:1 dns=udp:127.0.0.1:1";
    let _service = listening(&scene, [udp(), web], "", words);
    assert_eq!(answers(&at_web).0, "web");
}

#[test]
fn e1_what_is_ambiguous_is_an_error_that_lists_what_came() {
    for (names, words) in [
        ("", "web=tcp:127.0.0.1:1"),
        ("", "web=or:127.0.0.1:1"),
        ("LISTEN_FDNAMES=web:web", "web=tcp:127.0.0.1:1"),
        ("LISTEN_FDNAMES=one.socket:two.socket", "web=or:127.0.0.1:1"),
    ] {
        let scene = Scene::new();
        let ((one, at_one), (two, at_two)) = (tcp(), tcp());
        let (status, said) = activated(&scene, [one, two], names, words).ended();
        assert_eq!(status, Some(1), "{names} {words}: {said}");
        for part in [
            "the socket web",
            "a listening TCP socket",
            &at_one,
            &at_two,
            "FileDescriptorName=",
        ] {
            assert!(said.contains(part), "{part:?} is missing: {said}");
        }
    }
}

#[test]
fn e1_the_named_one_of_another_type_is_an_error() {
    let scene = Scene::new();
    let words = "web=tcp:127.0.0.1:1";
    let (status, said) =
        activated(&scene, [udp(), tcp().0], "LISTEN_FDNAMES=web:admin", words).ended();
    assert_eq!(status, Some(1));
    assert!(
        said.contains("web") && said.contains("it is a UDP socket, not a listening TCP socket"),
        "{said}"
    );
}

/// Added to the program, but not to the unit.
#[test]
fn e1_what_was_not_passed_is_opened_and_what_is_not_taken_is_closed_and_said() {
    let scene = Scene::new();
    let ((web, at_web), (spare, at_spare)) = (tcp(), tcp());
    let words = format!("web=tcp:127.0.0.1:1 metrics=tcp:{}", free_address());
    let service = listening(&scene, [web, spare], "LISTEN_FDNAMES=web:spare", &words);
    assert_eq!(answers(&at_web).0, "web");
    let metrics = Listening::new(&scene).listens()["metrics"].clone();
    assert_eq!(answers(&metrics), ("metrics".to_owned(), service.pid()));
    scene.wait_until("the end of the spare one", || ask(&at_spare).is_err());
    let said = service.stopped();
    assert!(
        said.contains(&format!("spare (a listening TCP socket at {at_spare})")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// What a hook has opened in the place of a socket that it has closed is not closed at readiness.
#[test]
fn e1_what_a_hook_has_closed_and_replaced_is_left_alone() {
    let scene = Scene::new();
    let ((web, at_web), (spare, _)) = (tcp(), tcp());
    let file = scene.path("file");
    let words = format!("web=tcp:127.0.0.1:1 closes={}", file.display());
    let service = listening(&scene, [web, spare], "LISTEN_FDNAMES=web:spare", &words);
    assert_eq!(answers(&at_web).0, "web");
    scene.wait_until("the file", || file.exists());
    service.stopped();
    assert_eq!(fs::read_to_string(&file).expect("a file"), "still there");
}

/// A service that does so late learns why it has none.
#[test]
fn e1_what_was_closed_at_readiness_is_not_opened_once_more() {
    let scene = Scene::new();
    let words = "late web=tcp:127.0.0.1:0";
    let (status, said) =
        activated(&scene, [tcp().0, udp()], "LISTEN_FDNAMES=web:dns", words).ended();
    assert!(
        status == Some(1) && said.contains("it was closed when the service was ready"),
        "{status:?}: {said}"
    );
}

/// Two lines of the program have changed places, between two versions.
#[test]
fn e1_a_restart_matches_names_whatever_the_order() {
    let scene = Scene::new();
    let (public, secret) = (free_address(), free_address());
    let old = Listening::new(&scene).with(format!("web=tcp:{public} admin=or:{secret}"));
    let before = old.start();
    let new = Listening::new(&scene).with(format!("admin=or:{secret} web=tcp:{public}"));
    for order in [&new, &old, &new] {
        assert_eq!(order.restart(), "");
        let owner = order.owner();
        scene.wait_until("the new one alone", || scene.processes().len() == 1);
        assert_eq!(answers(&public), ("web".to_owned(), owner.pid()));
        assert_eq!(answers(&secret), ("admin".to_owned(), owner.pid()));
    }
    assert!(before.is_gone());
}

/// One that is new, one that is gone, and one that has another name now.
#[test]
fn e1_a_restart_adds_and_removes_and_renames() {
    let scene = Scene::new();
    let addresses = [(); 3].map(|()| free_address());
    let [web, admin, metrics] = &addresses;
    Listening::new(&scene)
        .with(format!("web=tcp:{web} admin=tcp:{admin}"))
        .start();
    let said = Listening::new(&scene)
        .with(format!("metrics=tcp:{metrics} public=tcp:{web}"))
        .restart();
    assert!(
        said.contains(&format!("admin (a listening TCP socket at {admin})")),
        "{said}"
    );
    assert_eq!(
        (answers(web).0, answers(metrics).0),
        ("public".to_owned(), "metrics".to_owned())
    );
    assert!(ask(admin).is_err());
}

/// The same number in two variables had two owners, and closing the second aborts the process.
#[test]
fn d8_a_descriptor_in_two_variables_has_one_owner() {
    let scene = Scene::new();
    let ((web, at_web), (admin, at_admin)) = (tcp(), tcp());
    let variables = "LISTEN_FDNAMES=web:admin DAEMON_NOTIFY_FD=4";
    let words = "web=tcp:127.0.0.1:1 admin=tcp:127.0.0.1:1";
    let service = listening(&scene, [web, admin], variables, words);
    assert_eq!(
        (answers(&at_web).0, answers(&at_admin).0),
        ("web".to_owned(), "admin".to_owned())
    );
    let said = service.stopped();
    assert!(
        said.contains("DAEMON_NOTIFY_FD 4") && said.contains("another variable names it"),
        "{said}"
    );
}

/// The number is not open, until this process opens the manager's socket.
#[test]
fn d8_a_descriptor_of_its_own_is_not_taken_for_an_inherited_one() {
    let scene = Scene::new();
    let manager = daemon_harness::managers::NotifySocket::at(scene.path("notify"));
    for variables in ["DAEMON_NOTIFY_FD=3", "DAEMON_NOTIFY_FD=4"] {
        let words = format!("web=tcp:{}", free_address());
        let launch = scene
            .launch(bin("listening"))
            .arg("run")
            .env("LISTENING", words);
        let (name, value) = variables.split_once('=').expect("a variable");
        let running = launch
            .env(name, value)
            .env("NOTIFY_SOCKET", scene.path("notify"))
            .spawn();
        assert_eq!(manager.next(), "READY=1");
        running.signal(libc::SIGTERM);
        let ended = running.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.contains("DAEMON_NOTIFY_FD"), "{ended:?}");
        assert_eq!(manager.pending(), ["STOPPING=1"]);
    }
}

#[test]
fn d8_the_standard_streams_are_no_ones_readiness_descriptor() {
    let scene = Scene::new();
    for number in ["0", "1", "2"] {
        let web = free_address();
        let words = format!("web=tcp:{web} ended={}", scene.path("ended").display());
        let launch = scene
            .launch(bin("listening"))
            .arg("run")
            .env("LISTENING", words)
            .env("DAEMON_NOTIFY_FD", number);
        let running = launch.spawn();
        scene.wait_until("the service to listen", || ask(&web).is_ok());
        running.signal(libc::SIGTERM);
        running
            .wait()
            .assert_says(&[&format!("DAEMON_NOTIFY_FD {number}")]);
        assert_eq!(
            fs::read_to_string(scene.path("ended")).expect("it ended in order"),
            "false"
        );
        fs::remove_file(scene.path("ended")).expect("it is there");
    }
}
