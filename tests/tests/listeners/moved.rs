//! E2: addresses that change, sockets that no one takes.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use daemon_harness::Scene;
use daemon_tests::svc::free_address;

use crate::{Listening, ask, ask_at};

#[test]
fn e2_a_changed_address_is_bound_and_the_old_one_closed_and_said() {
    let scene = Scene::new();
    let (before, after) = (free_address(), free_address());
    Listening::new(&scene)
        .with(format!("web=tcp:{before}"))
        .start();
    let new = Listening::new(&scene).with(format!("web=tcp:{after}"));
    let said = new.restart();
    assert!(
        said.contains(&format!(
            "the socket web has moved from {before} to {after}"
        )),
        "{said}"
    );
    assert_eq!(
        ask(&after).expect("an answer"),
        ("web".to_owned(), new.owner().pid())
    );
    assert!(ask(&before).is_err());
    // And back, and once more without a change.
    let back = Listening::new(&scene).with(format!("web=tcp:{before}"));
    assert!(back.restart().contains("has moved"));
    assert_eq!(back.restart(), "");
    assert_eq!(ask(&before).expect("an answer").1, back.owner().pid());
}

#[test]
fn e2_a_unix_sockets_path_changes() {
    let scene = Scene::new();
    let (before, after) = (scene.path("before.sock"), scene.path("after.sock"));
    Listening::new(&scene)
        .with(format!("web=unix:{}", before.display()))
        .start();
    let new = Listening::new(&scene).with(format!("web=unix:{}", after.display()));
    assert!(new.restart().contains("has moved from"));
    assert_eq!(ask_at(&after).expect("an answer").1, new.owner().pid());
    assert!(ask_at(&before).is_err());
    // The path was removed meanwhile: whoever connects has to find it again.
    std::fs::remove_file(&after).expect("a socket");
    assert!(new.restart().contains("bound the socket web again"));
    assert_eq!(ask_at(&after).expect("an answer").1, new.owner().pid());
}

/// TCP becomes a Unix socket.
#[test]
fn e2_the_type_of_a_socket_changes() {
    let scene = Scene::new();
    let (before, after) = (free_address(), scene.path("web.sock"));
    Listening::new(&scene)
        .with(format!("web=tcp:{before}"))
        .start();
    let new = Listening::new(&scene).with(format!("web=unix:{}", after.display()));
    assert!(new.restart().contains("has moved from"));
    assert_eq!(ask_at(&after).expect("an answer").1, new.owner().pid());
    assert!(ask(&before).is_err());
}

/// Port 0 stands for any, and so for the old one; by `listener_or` the name alone counts.
#[test]
fn e2_any_port_stays() {
    let scene = Scene::new();
    let service = Listening::new(&scene).with("web=tcp:127.0.0.1:0 admin=or:127.0.0.1:0");
    service.start();
    let before = service.listens();
    assert_eq!(service.restart(), "");
    assert_eq!(service.listens(), before);
}

/// Of a socket that no one takes: whoever connects must not wait for nobody, however long the old
/// one takes to end.
#[test]
fn e2_what_the_new_one_does_not_take_is_closed_although_the_old_one_hangs() {
    let scene = Scene::new();
    let (web, admin) = (free_address(), free_address());
    Listening::new(&scene)
        .with(format!("web=tcp:{web} admin=tcp:{admin} hang"))
        .start();
    let new = Listening::new(&scene).with(format!("web=tcp:{web}"));
    let restart = new.command("restart --timeout 3s").spawn();
    scene.wait_until("the line", || {
        restart.stderr().contains("closed the socket admin")
    });
    scene.wait_until("the end of the old socket", || ask(&admin).is_err());
    assert!(scene.processes().len() > 1, "the old one still lives");
    // It is refused, at once.
    let began = Instant::now();
    assert!(TcpStream::connect(&admin).is_err() && began.elapsed() < Duration::from_secs(2));
    restart.wait().assert_ready();
}

/// Whoever reads that an address is in use looks for another program.
#[test]
fn an_address_that_the_service_itself_has_taken_is_said_to_be_its_own() {
    let scene = Scene::new();
    let address = free_address();
    let twice = Listening::new(&scene).with(format!("web=tcp:{address} web=tcp:{address}"));
    twice.run("start").assert_exited(1).assert_says(&[
        "in use",
        &format!("has taken a socket at {address} already"),
    ]);
}

/// A line for each of the first ten, and one for the others.
#[test]
fn many_sockets_that_the_new_one_does_not_take_are_few_lines() {
    let scene = Scene::new();
    Listening::new(&scene).with("many=25").start();
    let said = Listening::new(&scene).with("many=3").restart();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("closed"))
        .collect();
    assert_eq!(lines.len(), 11, "{said}");
    assert!(
        lines[10].ends_with("closed 12 more sockets that the service has not taken"),
        "{said}"
    );
}

/// The old one owns the address as long as it listens at all addresses.
#[test]
fn e2_an_address_that_the_old_one_blocks_is_a_failed_restart_and_it_goes_on() {
    let scene = Scene::new();
    let port = free_address()
        .rsplit_once(':')
        .expect("a port")
        .1
        .to_owned();
    let old = Listening::new(&scene)
        .with(format!("web=tcp:0.0.0.0:{port}"))
        .start();
    let new = Listening::new(&scene).with(format!("web=tcp:127.0.0.1:{port}"));
    new.run("restart").assert_exited(1).assert_says(&[
        &format!("127.0.0.1:{port}"),
        "in use",
        &format!("the running instance listens at 0.0.0.0:{port}"),
    ]);
    assert_eq!(
        ask(&format!("127.0.0.1:{port}")).expect("an answer").1,
        old.pid()
    );
}

/// It opens its sockets when it is ready: a successor could not take them in time.
#[test]
fn e2_one_that_opens_its_sockets_late_is_stopped_first() {
    let scene = Scene::new();
    let web = free_address();
    let service = Listening::new(&scene).with(format!("late web=tcp:{web}"));
    let old = service.start();
    scene.wait_until("it to listen", || ask(&web).is_ok());
    service.restart();
    assert!(old.is_gone());
    scene.wait_until("the new one to answer", || {
        ask(&web).is_ok_and(|(_, pid)| pid == service.owner().pid())
    });
}
