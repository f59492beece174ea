//! D1's neighbour: somebody has removed the pidfile, as systemd does when a start fails, whoever
//! the file names. And other programs lock whole pidfiles.

use std::fs::{self, OpenOptions};

use daemon_harness::Scene;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::Held;

#[test]
fn d1_a_service_whose_pidfile_was_removed_is_still_found() {
    let scene = Scene::new();
    let held = Held::new(&scene);
    held.run("start", 0);
    let daemon = held.daemon();
    fs::remove_file(&held.pidfile).unwrap();

    assert!(
        held.says("status", 0)
            .contains(&format!("pid {}", daemon.pid()))
    );
    let second = held.run("start", 80);
    assert!(
        second.stderr.contains(&format!(
            "pid {} answers on its control socket",
            daemon.pid()
        )),
        "{second:?}"
    );
    assert_eq!(held.processes().len(), 1);
    held.run("stop", 0);
    assert!(held.processes().is_empty());
    held.run("status", 3);
}

#[test]
fn d1_a_service_whose_pidfile_was_removed_is_restarted_and_has_one_again() {
    let scene = Scene::new();
    let held = Held::new(&scene);
    held.run("start", 0);
    let old = held.daemon();
    fs::remove_file(&held.pidfile).unwrap();
    held.run("restart", 0);
    let new = held.daemon();
    assert_ne!(new.pid(), old.pid());
    assert_eq!(scene.pid_in_pidfile(), Some(new.pid()));
}

#[test]
fn c3_a_program_that_has_locked_the_whole_pidfile_tells_no_lies() {
    let scene = Scene::new();
    let held = Held::new(&scene);
    fs::write(&held.pidfile, "").unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&held.pidfile)
        .unwrap();
    let whole = libc::flock {
        l_type: libc::F_WRLCK.try_into().unwrap(),
        l_whence: libc::SEEK_SET.try_into().unwrap(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).unwrap();

    assert!(held.says("status", 1).contains("is dead"));
    held.run("start", 0);
    let daemon = held.daemon();
    assert!(
        held.says("status", 0)
            .contains(&format!("is running: pid {}", daemon.pid()))
    );
    let refused = held.run("restart", 1);
    assert!(
        refused
            .stderr
            .contains("another program has locked the pidfile"),
        "{refused:?}"
    );
    assert_eq!(held.daemon().pid(), daemon.pid());
    held.run("stop", 0);
    assert!(held.processes().is_empty());
}
