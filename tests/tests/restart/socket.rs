//! The control socket: whose it is, when it is there, and who is answered.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use daemon_harness::{Launch, Scene, require};
use daemon_tests::ctl::{Ctl, ORDINARY};
use daemon_tests::svc::{at_barrier, barrier};

use crate::{answering, assert_owner};

/// Says something on the control socket, and prints how long the answer is: 0 is the end of the
/// connection.
const TALK: &str = r#"use Socket; socket(S, PF_UNIX, SOCK_SEQPACKET, 0) or die; connect(S, pack_sockaddr_un($ARGV[0])) or die "$!";
    send(S, $ARGV[1], 0); recv(S, $answer, 1000, 0); print length $answer"#;

fn talk<'s>(scene: &'s Scene, socket: &Path, word: &str) -> Launch<'s> {
    scene
        .launch("/usr/bin/perl")
        .args(["-e", TALK])
        .arg(socket)
        .arg(word)
}

#[test]
fn it_is_the_owners_alone_and_goes_with_the_service() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    for end in ["stop", "restart"] {
        let daemon = ctl.start();
        let found = fs::symlink_metadata(ctl.socket()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(
            (found.mode() & 0o7777, found.uid()),
            (0o600, daemon.status().ruid)
        );
        ctl.run(end).assert_exited(0);
        if end == "restart" {
            let found = fs::symlink_metadata(ctl.socket()).unwrap();
            assert_eq!(
                (found.mode() & 0o7777, found.uid()),
                (0o600, assert_owner(&scene).status().ruid)
            );
            ctl.succeeds("stop");
        }
        assert!(!ctl.socket().exists());
        scene.assert_no_leftovers();
    }
}

#[test]
fn a_failed_start_leaves_none() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("fail", "");
    for command in ["start", "restart", "run"] {
        ctl.run(command).assert_exited(1);
        assert!(
            !ctl.socket().exists() && !scene.pidfile().exists(),
            "{command}"
        );
    }
    let fifo = barrier(&scene, "warm_up");
    let starting = Ctl::new(&scene)
        .with("warm_up", &fifo)
        .command("start")
        .spawn();
    let _inside = at_barrier(&scene, &fifo);
    starting.signal(libc::SIGTERM);
    starting.wait().assert_killed(libc::SIGTERM);
    assert!(!ctl.socket().exists());
    scene.assert_no_leftovers();
}

#[test]
fn what_a_killed_service_left_is_replaced() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let daemon = ctl.start();
    daemon.kill();
    scene.exit_status(&daemon);
    assert!(ctl.socket().exists());
    ctl.run("restart").assert_ready();
    ctl.run("restart").assert_ready();
    assert_owner(&scene);
}

#[test]
fn a_loser_leaves_the_winners_alone() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    let inode = fs::metadata(ctl.socket()).unwrap().ino();
    ctl.run("start").assert_exited(80);
    assert_eq!(fs::metadata(ctl.socket()).unwrap().ino(), inode);
}

#[test]
fn another_user_cannot_even_connect_and_is_not_answered_if_that_is_allowed() {
    require!(root(), tool("perl"));
    let scene = Scene::new();
    let ctl = answering(&scene).with("reloads", "");
    let daemon = ctl.start();
    let hostile = |word| talk(&scene, &ctl.socket(), word).ordinary(ORDINARY).run();
    assert_ne!(
        hostile("hand over")
            .assert_says(&["Permission denied"])
            .status
            .code(),
        Some(0)
    );
    fs::set_permissions(ctl.socket(), PermissionsExt::from_mode(0o666)).unwrap();
    for word in ["hand over", "reload", "commit", "", "nonsense"] {
        assert_eq!(hostile(word).assert_exited(0).stdout, "0", "{word:?}");
    }
    assert_eq!(
        talk(&scene, &ctl.socket(), "reload")
            .run()
            .assert_exited(0)
            .stdout,
        "8"
    );
    assert_eq!(assert_owner(&scene).pid(), daemon.pid());
}

/// Of the service's own user, or root: mistakes, not attacks.
#[test]
fn nonsense_is_ignored() {
    require!(tool("perl"));
    let scene = Scene::new();
    let ctl = answering(&scene);
    let daemon = ctl.start();
    for word in ["", "nonsense", &"x".repeat(50_000), "commit"] {
        assert_eq!(
            talk(&scene, &ctl.socket(), word)
                .run()
                .assert_exited(0)
                .stdout,
            "0"
        );
    }
    // One who connects and says nothing keeps nobody waiting.
    let silent = r"use Socket; socket(S, PF_UNIX, SOCK_SEQPACKET, 0); connect(S, pack_sockaddr_un($ARGV[0])); sleep 1000";
    let silent = scene
        .launch("/usr/bin/perl")
        .args(["-e", silent])
        .arg(ctl.socket())
        .spawn();
    ctl.run("restart").assert_ready();
    silent.signal(libc::SIGKILL);
    silent.wait();
    assert_ne!(assert_owner(&scene).pid(), daemon.pid());
}

/// What somebody else listens on is not the service's, whatever its name.
#[test]
fn a_socket_of_somebody_elses_is_not_talked_to() {
    require!(tool("perl"));
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    let listen = r#"use Socket; unlink $ARGV[0]; socket(S, PF_UNIX, SOCK_SEQPACKET, 0) or die; bind(S, pack_sockaddr_un($ARGV[0])) or die;
        listen(S, 9); $| = 1; print "listens"; accept(C, S); recv(C, $heard, 1000, 0); print "heard $heard"; sleep 1000"#;
    let other = scene
        .launch("/usr/bin/perl")
        .args(["-e", listen])
        .arg(ctl.socket())
        .spawn();
    scene.wait_until("the other to listen", || other.stdout().contains("listens"));
    ctl.run("reload")
        .assert_exited(1)
        .assert_says(&["another process's"]);
    ctl.run("restart").assert_ready();
    scene.wait_until("it to hear nothing", || other.stdout() == "listensheard ");
    other.signal(libc::SIGKILL);
    other.wait();
    assert_owner(&scene);
}
