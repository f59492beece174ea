//! E28: whomever the pidfile names, nobody but the service is hit.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::{fs, thread};

use daemon_harness::{Proc, Running, Scene, bin, require};
use daemon_tests::ctl::Ctl;

/// All commands do as if the service did not run, or only had left this file; who might be hit
/// lives.
#[track_caller]
fn assert_nobody_is_hit(scene: &Scene, content: &str, witnesses: &[&Running<'_>]) {
    fs::write(scene.pidfile(), content).expect("a pidfile");
    let ctl = Ctl::new(scene);
    let status = ctl.run("status");
    let says = |status: &daemon_harness::Started| status.stdout.contains("ctl is dead");
    assert!(
        status.status.code() == Some(1) && says(&status),
        "{content:?}: {status:?}"
    );
    assert_eq!(ctl.succeeds("stop"), "ctl is not running\n", "{content:?}");
    ctl.run("reload")
        .assert_exited(1)
        .assert_says(&["is not running"]);
    if names_the_dead(content) {
        assert!(!scene.pidfile().exists(), "{content:?}");
    } else {
        let left = fs::read_to_string(scene.pidfile());
        assert_eq!(left.expect("it is left alone"), content);
    }
    ctl.run("restart").assert_ready();
    ctl.succeeds("stop");
    assert!(
        witnesses.iter().all(|witness| witness.is_running()),
        "{content:?}"
    );
}

/// Whether the first line is a number that no process has: `stop` clears that up.
fn names_the_dead(content: &str) -> bool {
    let first = content.lines().next().unwrap_or_default();
    match first.parse::<i32>() {
        Ok(pid) if pid > 0 => !Path::new(&format!("/proc/{pid}")).exists(),
        _ => false,
    }
}

#[test]
fn e28_numbers_that_are_nobodys_or_everybodys() {
    let scene = Scene::new();
    // One of them leads a process group, the other is in the caller's, which 0 means.
    let sleep = || scene.launch("/bin/sleep").arg("1000");
    let (leader, comrade) = (sleep().spawn(), sleep().in_script().spawn());
    assert_eq!(leader.process().stat().pgrp, leader.pid());
    let group = leader.pid();
    let contents = [
        "0\n",
        "-0\n",
        "+0\n",
        "-1\n",
        "1\n",
        "2\n",
        "2147483647\n",
        "2147483648\n",
        "4294967295\n",
        "4294967296\n",
        "4294967297\n",
        "18446744073709551615\n",
        "18446744073709551617\n",
        "-2147483648\n",
        "-2\n",
    ];
    let around = [
        format!("-{group}\n"),
        format!("+{group}\n"),
        format!("{group} {group}\n"),
        format!("{group}\n{group}\n"),
        format!("{group}"),
        format!("{}\n", u64::try_from(group).expect("a pid") + (1 << 32)),
        format!("{}\n", i64::from(group) - (1 << 32)),
    ];
    for content in contents.into_iter().map(str::to_owned).chain(around) {
        assert_nobody_is_hit(&scene, &content, &[&leader, &comrade]);
    }
}

/// A thread has a number of the same space, and /proc has its files; but it is no process.
#[test]
fn e28_the_number_of_a_thread_of_another_process() {
    let scene = Scene::new();
    let (tell, told) = mpsc::channel();
    let (over, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(nix::unistd::gettid().as_raw())
                .expect("the test waits");
            _ = wait.recv();
        });
        let thread = told.recv().expect("the number of a thread");
        assert!(Proc::new(thread).is_none(), "it is no process");
        assert_nobody_is_hit(&scene, &format!("{thread}\n"), &[]);
        drop(over);
    });
}

/// It names the very process that reads it, or the one that has started that.
#[test]
fn e28_the_number_of_the_one_who_asks() {
    let scene = Scene::new();
    let settings = format!("pidfile={}", scene.pidfile().display());
    for (command, status) in [("status", 1), ("stop", 0), ("reload", 1), ("restart", 0)] {
        for script in [
            "echo $$ >\"$1\" && exec \"$0\" \"$2\"",
            "echo $$ >\"$1\" && \"$0\" \"$2\"; exit $?",
        ] {
            let launch = scene
                .launch("/bin/sh")
                .args(["-c", script])
                .arg(bin("ctl"))
                .arg(scene.pidfile());
            let asked = launch.arg(command).env("CTL", &settings).run();
            assert_eq!(asked.status.code(), Some(status), "{command}: {asked:?}");
            Ctl::new(&scene).succeeds("stop");
        }
    }
}

/// Marks itself as an older instance that has not been told to end. Then it has the pidfile no more, but
/// its lock is still there: a process that shared its descriptors has it.
const MARKED: &str = r"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int file = open(arguments[1], O_RDONLY);
    if (syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) == 0)
        for (;;) pause();
    for (int kind = 1; kind <= 2; kind++) {
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
        lock.l_start = (1 << 24) + kind * ((1 << 22) + 1) + getpid();
        if (fcntl(file, F_SETLK, &lock)) return 1;
    }
    unshare(CLONE_FILES);
    close(file);
    close(open(arguments[2], O_WRONLY | O_CREAT, 0600));
    for (;;) pause();
}
";

/// Such a lock may outlive its process, whose number is a stranger's later.
#[test]
fn e28_a_process_that_is_only_said_to_be_an_older_instance_is_not_hit() {
    require!(tool("cc"));
    let scene = Scene::new();
    let (source, program) = (scene.file("marked.c", MARKED), scene.path("marked"));
    let mut build = Command::new("cc");
    build.arg("-o").args([&program, &source]);
    assert!(build.status().expect("cc").success());
    let ctl = Ctl::new(&scene);
    ctl.run("start").assert_ready();
    let marked = scene.path("is-marked");
    let launch = scene.launch(&program).arg(scene.pidfile()).arg(&marked);
    let stranger = launch.spawn();
    scene.wait_until("the mark", || marked.exists());
    let status = ctl.succeeds("status");
    assert!(!status.contains("older instance"), "{status}");
    ctl.succeeds("stop --timeout 100ms");
    assert!(stranger.is_running());
}
