//! The socket files of Unix sockets.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use daemon_harness::{Scene, require};

use crate::{Listening, ask_at};

#[test]
fn e10_what_a_dead_instance_has_left_is_replaced() {
    let scene = Scene::new();
    let path = scene.path("web.sock");
    let service = Listening::new(&scene).with(format!("web=unix:{}", path.display()));
    for _ in 0..3 {
        let daemon = service.start();
        assert_eq!(ask_at(&path).expect("an answer").1, daemon.pid());
        daemon.kill();
        scene.exit_status(&daemon);
        assert!(path.exists() && ask_at(&path).is_err());
    }
}

#[test]
fn e10_a_live_one_is_left_alone() {
    let scene = Scene::new();
    let path = scene.path("web.sock");
    let live = UnixListener::bind(&path).expect("a socket");
    let service = Listening::new(&scene).with(format!("web=unix:{}", path.display()));
    service
        .run("start")
        .assert_exited(1)
        .assert_says(&["web.sock", "another process listens there"]);
    scene.assert_no_leftovers();
    let _client = std::os::unix::net::UnixStream::connect(&path).expect("it is still there");
    live.accept().expect("the one that looked");
}

/// An empty word in a configuration: the system would choose an address.
#[test]
fn an_empty_path_is_refused() {
    let scene = Scene::new();
    let service = Listening::new(&scene).with("web=unix:");
    service
        .run("start")
        .assert_exited(1)
        .assert_says(&["web", "the address of a Unix socket is a path"]);
    scene.assert_no_leftovers();
}

#[test]
fn e10_what_is_not_a_socket_is_left_alone() {
    let scene = Scene::new();
    let path = scene.path("web.sock");
    let service = Listening::new(&scene).with(format!("web=unix:{}", path.display()));
    let refused = || {
        service
            .run("start")
            .assert_exited(1)
            .assert_says(&["web.sock", "not a socket"]);
    };
    fs::write(&path, "precious").expect("a file");
    refused();
    assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
    fs::rename(&path, scene.path("precious")).expect("a file");
    symlink(scene.path("precious"), &path).expect("a link");
    refused();
    fs::remove_file(&path).expect("a link");
    fs::create_dir(&path).expect("a directory");
    refused();
}

#[test]
fn e10_root_replaces_nothing_where_others_have_a_hand() {
    require!(root());
    let scene = Scene::new();
    let place = scene.dir("place", 0o755, Some(65534));
    let path = place.join("web.sock");
    let service = Listening::new(&scene).with(format!("web=unix:{}", path.display()));
    drop(UnixListener::bind(&path).expect("a socket"));
    service.run("start").assert_exited(1).assert_says(&[
        "web.sock",
        "abandoned",
        "belongs to user id 65534",
    ]);
    assert!(
        fs::symlink_metadata(&path)
            .expect("it stays")
            .file_type()
            .is_socket()
    );
    // The user can, whose directory it is.
    chown(&path, Some(65534), None).expect("chown");
    service
        .with("user=nobody")
        .at(scene.pidfile())
        .with("places=/dev/null")
        .run("start")
        .assert_ready();
    assert_eq!(ask_at(&path).expect("an answer").0, "web");
}

/// Ten starts of services with no pidfile in common find what a dead one has left.
#[test]
fn e10_of_many_that_find_an_abandoned_one_one_gets_it() {
    let scene = Scene::new();
    let path = scene.path("web.sock");
    for round in 0..5 {
        _ = fs::remove_file(&path);
        drop(UnixListener::bind(&path).expect("a socket"));
        let mut gate = scene.gate(&format!("gate{round}"));
        let starts: Vec<_> = (0..10)
            .map(|number| {
                let service =
                    Listening::new(&scene).at(scene.path(format!("{round}-{number}.pid")));
                let service = service.with(format!("web=unix:{}", path.display()));
                service.command("start").behind(&gate).spawn()
            })
            .collect();
        gate.open();
        let ends: Vec<_> = starts
            .into_iter()
            .map(|start| start.wait().status.code())
            .collect();
        assert_eq!(
            ends.iter().filter(|&&end| end == Some(0)).count(),
            1,
            "{ends:?}"
        );
        let daemon = scene.daemon();
        assert_eq!(ask_at(&path).expect("an answer").1, daemon.pid());
        daemon.signal(libc::SIGTERM);
        scene.exit_status(&daemon);
    }
}

/// As std makes it: under the umask of the service.
#[test]
fn e10_its_mode_follows_the_umask() {
    let scene = Scene::new();
    let path = scene.path("web.sock");
    Listening::new(&scene)
        .with(format!("web=unix:{}", path.display()))
        .start();
    assert_eq!(
        fs::metadata(&path).expect("a socket").permissions().mode() & 0o777,
        0o755
    );
}
