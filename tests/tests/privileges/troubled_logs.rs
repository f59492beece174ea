//! Logs of limited size in trouble: what is in the way of the writer or of its rotation must not be
//! in the way of the service.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{PATIENCE, Proc, Scene, bin, errno_text, require};
use daemon_tests::ctl::Ctl;
use daemon_tests::svc::{at_barrier, barrier, refused};
use nix::sys::resource::Resource;
use rustix::fs::{FlockOperation, flock};

use crate::as_nobody;
use crate::rotated_logs::{both, files, lines, logging, numbered};

/// More lines than a pipe has room for.
const MANY: u32 = 20_000;

/// What a service has written into this log, without what the library has.
fn written(log: &Path) -> String {
    let mut said: Vec<String> = files(log)
        .concat()
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect();
    said.retain(|line| !line.starts_with("svc: "));
    said.concat()
}

/// The writer of the service's log, of several the newest.
fn writer(scene: &Scene) -> Proc {
    let mut all = scene.processes();
    all.retain(|process| process.name().as_deref() == Some("log-writer"));
    all.pop().expect("a writer")
}

/// Whoever can read a log can lock it.
#[test]
fn a_log_that_a_stranger_has_locked_keeps_no_service_waiting() {
    let scene = Scene::new();
    let log = scene.file("log", "");
    let stranger = File::open(&log).unwrap();
    flock(&stranger, FlockOperation::LockExclusive).unwrap();
    let launch = logging(&scene, &log, 1000, 9).arg(format!("init:lines={MANY}"));
    let (daemon, writer) = both(&scene, launch);
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert!(written(&log) == lines("line", MANY));
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(
        said.matches("going on with the old file").count(),
        1,
        "said once"
    );
}

/// As in a restart: the new instance must become ready before the old one ends.
#[test]
fn a_writer_that_cannot_rotate_keeps_no_other_waiting() {
    let scene = Scene::new();
    let log = scene.path("log");
    fs::create_dir(numbered(&log, 1)).unwrap();
    let launch = logging(&scene, &log, 1000, 1).arg("init:lines=200 old");
    let (old, writer) = both(&scene, launch);
    let done = || fs::read_to_string(&log).unwrap().contains("old 0199\n");
    scene.wait_until("the lines", done);
    let new = scene
        .launch(bin("svc"))
        .set("stdout", &log)
        .set("log_size", "1000")
        .set("log_keep", "1")
        .args([&format!("init:lines={MANY} new"), "main:sleep=0"]);
    new.run().assert_ready();
    scene.stop(&old);
    scene.exit_status(&writer);
    scene.wait_until("the end of all", || scene.processes().is_empty());
    let said = fs::read_to_string(&log).unwrap();
    assert!(!said.contains("another process has locked it"));
    for name in ["old", "new"] {
        let own: Vec<&str> = said.lines().filter(|line| line.starts_with(name)).collect();
        let count = if name == "old" { 200 } else { MANY };
        assert!(own.join("\n") + "\n" == lines(name, count), "{name}");
    }
}

/// In a directory with the sticky bit, only the owner may rename a file. (A file that is only
/// appended to, see chattr(1), is another such.)
#[test]
fn older_logs_outlive_a_log_that_cannot_be_renamed() {
    require!(root());
    let scene = Scene::new();
    let directory = scene.dir("logs", 0o1777, None);
    let log = directory.join("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    for number in 1..=3 {
        let older = numbered(&log, number);
        fs::write(&older, format!("{number}\n")).unwrap();
        chown(&older, Some(crate::NOBODY), None).unwrap();
    }
    let launch = as_nobody(&scene)
        .set("pidfile", scene.pidfile())
        .set("stdout", &log)
        .set("log_size", "100")
        .set("log_keep", "9")
        .arg(format!("init:lines={MANY}"));
    let (daemon, writer) = both(&scene, launch);
    scene.stop(&daemon);
    scene.exit_status(&writer);
    let all: Vec<String> = (1..=9)
        .filter_map(|number| fs::read_to_string(numbered(&log, number)).ok())
        .collect();
    assert_eq!(all, ["1\n", "2\n", "3\n"]);
}

/// Two services, or two writers in a rotation, can find it missing at once.
#[test]
fn a_log_that_another_process_creates_at_the_same_time() {
    require!(tool("strace"));
    let scene = Scene::new();
    let log = scene.path("log");
    let delay = [
        "-P",
        "log",
        "-e",
        "inject=openat:delay_enter=2000000:when=1",
    ];
    let launch = logging(&scene, &log, 1000, 1).args(["init:lines=1", "main:sleep=0"]);
    let starting = launch.strace("calls", &delay).spawn();
    scene.wait_until("the creation of the log", || {
        let mut processes = scene.processes().into_iter();
        processes.any(|process| process.sleeps_in(&[libc::SYS_openat]).is_some())
    });
    fs::write(&log, "another\n").unwrap();
    starting.wait().assert_ready();
    scene.wait_until("the line", || {
        fs::read_to_string(&log).unwrap() == "another\nline 0000\n"
    });
    scene.wait_until("the end of all", || scene.processes().is_empty());
}

/// It is bounded where no one can see it, and there again when the directory is.
#[test]
fn a_log_whose_directory_goes_away() {
    let scene = Scene::new();
    let directory = scene.dir("logs", 0o755, None);
    let (log, gate) = (directory.join("log"), barrier(&scene, "gate"));
    let gone = barrier(&scene, "gone");
    let launch = logging(&scene, &log, 1000, 2).args([
        format!("main:cat={}", gone.display()),
        format!("main:lines={MANY} lost"),
        format!("main:cat={}", gate.display()),
        "main:lines=1 found".to_owned(),
        "main:shutdown".to_owned(),
    ]);
    let (daemon, writer) = both(&scene, launch);
    let go = at_barrier(&scene, &gone);
    fs::remove_dir_all(&directory).unwrap();
    drop(go);
    let go = at_barrier(&scene, &gate);
    let (number, _) = writer
        .descriptor_of(format!("{} (deleted)", log.display()))
        .expect("the file");
    let open = format!("/proc/{}/fd/{number}", writer.pid());
    scene.wait_until("the writer to wait", || {
        writer.sleeps_in(&[libc::SYS_read]).is_some()
    });
    assert!(fs::metadata(open).unwrap().size() <= 1000);
    fs::create_dir(&directory).unwrap();
    drop(go);
    scene.wait_until("the line", || {
        fs::read_to_string(&log).is_ok_and(|said| said.ends_with("found 0000\n"))
    });
    scene.stop(&daemon);
    scene.exit_status(&writer);
}

/// A limit on the size of files, which the caller has, is as good as a full log.
#[test]
fn a_log_is_rotated_at_the_limit_on_the_size_of_files() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = logging(&scene, &log, 1 << 30, 1000)
        .rlimit(Resource::RLIMIT_FSIZE, 5000, 5000)
        .arg("init:lines=5000");
    let (daemon, writer) = both(&scene, launch);
    scene.stop(&daemon);
    scene.exit_status(&writer);
    assert!(written(&log) == lines("line", 5000));
}

/// The service waits for room in the pipe, and for nothing else: it can be stopped and restarted.
#[test]
fn a_suspended_writer_hangs_no_command() {
    let scene = Scene::new();
    let log = scene.path("log");
    let ctl = Ctl::new(&scene)
        .with("stdout", &log)
        .with("log_size", "10000")
        .with("chatters", "");
    ctl.run("start").assert_ready();
    let suspended = writer(&scene);
    suspended.signal(libc::SIGSTOP);
    ctl.succeeds("status");
    ctl.succeeds("restart --timeout 100ms");
    ctl.succeeds("status");
    let second = writer(&scene);
    second.signal(libc::SIGSTOP);
    ctl.succeeds("stop --timeout 100ms");
    ctl.run("status").assert_exited(3);
    for writer in [suspended, second] {
        writer.signal(libc::SIGCONT);
    }
    scene.wait_until("the end of the writers", || scene.processes().is_empty());
    scene.assert_no_leftovers();
}

#[test]
fn a_killed_writer_is_noticed_and_hangs_no_command() {
    let scene = Scene::new();
    let log = scene.path("log");
    let ctl = Ctl::new(&scene)
        .with("stdout", &log)
        .with("log_size", "10000");
    ctl.run("start").assert_ready();
    let killed = writer(&scene);
    killed.kill();
    killed.wait_gone(PATIENCE);
    let said = format!("\nlog: {} (its writer has ended)\n", log.display());
    assert!(ctl.succeeds("status").contains(&said));
    ctl.succeeds("restart");
    assert!(!ctl.succeeds("status").contains(&said));
    ctl.succeeds("stop");
    scene.wait_until("the end of the writers", || scene.processes().is_empty());
    scene.assert_no_leftovers();
}

/// Ten megabytes a second, and a new instance whenever one is ready: each line of each instance is
/// there once, in its order.
#[test]
fn no_line_is_lost_in_restarts_one_after_the_other() {
    let scene = Scene::new();
    let log = scene.path("log");
    let ctl = Ctl::new(&scene)
        .with("listen", scene.path("address"))
        .with("stdout", &log)
        .with("log_size", "300000")
        .with("log_keep", "10000")
        .with("chatters", "");
    ctl.run("start").assert_ready();
    for _ in 0..10 {
        ctl.succeeds("restart");
    }
    ctl.succeeds("stop");
    scene.wait_until("the end of the writers", || scene.processes().is_empty());
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut ended = 0;
    for line in files(&log).concat().lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (pid, number) = (word(), word());
        let next = seen.entry(pid.to_owned()).or_default();
        if number == "end" {
            assert_eq!(word(), next.to_string(), "{line}");
            ended += 1;
        } else {
            assert_eq!(number, next.to_string(), "{line}");
            *next += 1;
        }
    }
    assert_eq!((seen.len(), ended), (11, 11));
    scene.assert_no_leftovers();
}

/// The log goes on beyond its size, and has it again when the directory can be written again.
#[test]
fn a_directory_that_cannot_be_written_for_a_while() {
    require!(root());
    let scene = Scene::new();
    let directory = scene.dir("logs", 0o755, Some(crate::NOBODY));
    let (log, gates) = (
        directory.join("log"),
        ["shut", "open"].map(|name| barrier(&scene, name)),
    );
    let launch = as_nobody(&scene)
        .set("pidfile", scene.pidfile())
        .set("stdout", &log)
        .set("log_size", "1000")
        .set("log_keep", "1000")
        .args([
            format!("main:cat={}", gates[0].display()),
            format!("main:lines={MANY} shut"),
            format!("main:cat={}", gates[1].display()),
            "main:lines=1000 open".to_owned(),
        ]);
    for gate in &gates {
        chown(gate, Some(crate::NOBODY), None).unwrap();
    }
    let (daemon, writer) = both(&scene, launch);
    for (gate, owner) in gates.iter().zip([0, crate::NOBODY]) {
        let go = at_barrier(&scene, gate);
        // What was said before it is changed is written by then, or comes to the same.
        chown(&directory, Some(owner), None).unwrap();
        drop(go);
    }
    scene.exit_status(&daemon);
    scene.exit_status(&writer);
    assert!(written(&log) == lines("shut", MANY) + &lines("open", 1000));
    assert!(fs::metadata(&log).unwrap().size() <= 1000);
}

/// What is in a log whose file system becomes full of so many lines, and has room again before these last
/// hooks run.
fn log_of_full_file_system(count: u32, last: &str) -> String {
    let machine = Machine::boot(Root::new().copy("/usr/local/bin/svc", bin("svc")));
    let mount = "mkdir /log && mount -t tmpfs -o size=64k,mode=755 tmpfs /log && mkfifo /run/gate";
    machine.sh(mount).expect_success();
    let settings = "stdout=/log/log log_size=1000000";
    let hooks = format!("init:lines={count} main:cat=/run/gate {last} main:sleep=0");
    machine
        .sh(&format!("svc {settings} {hooks}"))
        .expect_success();
    machine
        .sh("mount -o remount,size=1m /log && : >/run/gate")
        .expect_success();
    wait_until("the end of the writer", || {
        machine.pids("log-writer").is_empty().then_some(())
    });
    fs::read_to_string(machine.path("/log/log")).unwrap()
}

/// What a full disk has no room for is lost, without the service waiting; a line says so later, and
/// the others are whole.
#[test]
fn a_full_file_system_loses_whole_lines_and_says_so() {
    require!(machine());
    let log = log_of_full_file_system(2 * MANY, "'main:lines=100 late'");
    let (before, after) = log.split_once("svc: ").expect("a line about it");
    let (lost, after) = after
        .split_once(" bytes of this log are lost here\n")
        .expect("how many");
    // The pipe may have held some when there was room again.
    let rest = after.strip_suffix(&lines("late", 100)).expect("the last");
    let all = lines("line", 2 * MANY);
    assert!(all.ends_with(rest));
    let there = all.len() - rest.len() - lost.parse::<usize>().expect("a number");
    assert!(before[..there] == all[..there]);
    assert_eq!(
        &before[there..],
        if all[..there].ends_with('\n') {
            ""
        } else {
            "\n"
        }
    );
}

/// The last that it has to say.
#[test]
fn what_a_full_file_system_has_lost_is_said_when_the_service_ends() {
    require!(machine());
    let log = log_of_full_file_system(MANY, "");
    assert!(log.contains(" bytes of this log are lost here\n"));
}

/// The service, its starter, and two that come before the writer count, too.
#[test]
fn too_few_processes_for_a_writer_are_told() {
    /// No other test has processes of this user's.
    const USER: u32 = 47_119;
    require!(root());
    for limit in [3, 4] {
        let scene = Scene::new();
        let log = scene.dir("logs", 0o755, Some(USER)).join("log");
        let launch = scene.launch(bin("svc")).ordinary(USER);
        let launch = launch.rlimit(Resource::RLIMIT_NPROC, limit, limit);
        let launch = launch.set("stdout", &log).set("log_size", "1000");
        refused(
            launch,
            &scene,
            89,
            &["the log's writer", &errno_text(libc::EAGAIN)],
        );
    }
}
