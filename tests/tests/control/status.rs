//! What the service is doing: LSB's statuses, as text, as JSON, and as the library's type.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use daemon_harness::{PATIENCE, Scene, require};
use daemon_rt::control::{Control, Status};
use daemon_tests::ctl::{Ctl, ORDINARY};
use daemon_tests::svc::{at_barrier, barrier, service, started};
use serde_json::{Value, json};

use crate::id;

/// The object that `status --json` prints, with this exit status.
#[track_caller]
fn json_status(ctl: &Ctl<'_>, code: i32) -> Value {
    let status = ctl.run("status --json");
    status.assert_exited(code);
    serde_json::from_str(&status.stdout).expect("JSON")
}

/// All members: those that are not given are null.
fn members(given: &Value) -> Value {
    let mut all = json!({
        "name": "ctl", "state": null, "pid": null, "pid_there": null, "since": null,
        "duration": null, "manager": null, "service": null, "version": null, "status": null,
        "memory": null, "processor_time": null, "descriptors": null, "threads": null, "old": [],
        "left": null, "listening": null, "log": null, "lines": null,
        "reason": null,
    });
    for (name, value) in given.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}

#[test]
fn a_service_runs_dies_and_is_gone() {
    let scene = Scene::new();
    let (ctl, control) = (Ctl::new(&scene), Control::new(scene.pidfile()));
    assert_eq!(
        ctl.run("status").assert_exited(3).stdout,
        "ctl is not running\n"
    );
    assert_eq!(
        json_status(&ctl, 3),
        members(&json!({"state": "not running"}))
    );
    assert_eq!(control.status().unwrap(), Status::NotRunning);

    let before = SystemTime::now();
    let daemon = ctl.start();
    let Status::Running {
        pid,
        since: Some(since),
    } = control.status().unwrap()
    else {
        panic!("it runs")
    };
    assert_eq!(pid, id(daemon.pid()));
    let ticks = Duration::from_millis(50);
    assert!(
        since > before - ticks && since < SystemTime::now() + ticks,
        "started at {before:?}, since {since:?}"
    );
    let seconds = since
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let told = json_status(&ctl, 0);
    assert_eq!(
        (&told["state"], &told["pid"]),
        (&json!("running"), &json!(pid))
    );
    assert!(
        told["since"].as_u64().unwrap().abs_diff(seconds) <= 1,
        "{told}"
    );
    let text = ctl.succeeds("status");
    assert!(
        text.starts_with(&format!("ctl is running: pid {pid}, since 20")),
        "{text}"
    );

    daemon.kill();
    scene.exit_status(&daemon);
    assert_eq!(
        ctl.run("status").assert_exited(1).stdout,
        format!("ctl is dead: its pidfile still names pid {pid}\n")
    );
    assert_eq!(
        json_status(&ctl, 1),
        members(&json!({"state": "dead", "pid": pid}))
    );
    assert_eq!(control.status().unwrap(), Status::Dead { pid: Some(pid) });

    ctl.start();
    ctl.succeeds("stop");
    assert_eq!(control.status().unwrap(), Status::NotRunning);
}

#[test]
fn a_zombie_is_dead() {
    let scene = Scene::new();
    scene.reap_orphans(false);
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    daemon.kill();
    daemon.wait_gone(PATIENCE);
    // Its other thread may hold the files for a moment longer.
    scene.wait_until("the lock to be free", || {
        ctl.run("status").status.code() == Some(1)
    });
    scene.reap_orphans(true);
}

#[test]
fn a_stale_file_may_hold_anything() {
    for content in [
        "",
        "\n",
        "garbage\n",
        "-1\n",
        "0\n",
        "99999999999999999999\n",
        &"7".repeat(5000),
    ] {
        let scene = Scene::new();
        fs::write(scene.pidfile(), content).unwrap();
        assert_eq!(
            Control::new(scene.pidfile()).status().unwrap(),
            Status::Dead { pid: None },
            "{content:?}"
        );
        Ctl::new(&scene).run("status").assert_exited(1);
        Ctl::new(&scene).start();
    }
}

/// It has a process, but no client would find it ready: the status is not 0.
#[test]
fn b6_one_that_is_starting_is_not_ready() {
    let scene = Scene::new();
    let fifo = barrier(&scene, "warm_up");
    let ctl = Ctl::new(&scene).with("warm_up", &fifo);
    let starting = ctl.command("start").spawn();
    let inside = at_barrier(&scene, &fifo);
    let pid = scene.pid_in_pidfile().expect("it is written before `init`");
    assert_eq!(
        ctl.run("status").assert_exited(4).stdout,
        format!("ctl is starting: pid {pid}\n")
    );
    assert_eq!(
        json_status(&ctl, 4),
        members(&json!({"state": "starting", "pid": pid}))
    );
    ctl.run("reload")
        .assert_exited(1)
        .assert_says(&["it is not ready yet"]);
    ctl.run("start")
        .assert_exited(80)
        .assert_says(&[&format!("held by pid {pid}, which is still starting")]);
    drop(inside);
    starting.wait().assert_ready();
    ctl.succeeds("status");
}

#[test]
fn an_ordinary_user_is_not_told() {
    require!(root());
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let daemon = ctl.start();
    let status = ctl.by(ORDINARY).run("status");
    assert!(
        status
            .assert_exited(4)
            .stdout
            .contains("the pidfile cannot be read: Permission denied"),
        "{status:?}"
    );
    let told = json_status(&ctl.by(ORDINARY), 4);
    assert_eq!(told["state"], "unknown");
    assert!(
        told["reason"].as_str().unwrap().contains("cannot be read"),
        "{told}"
    );
    assert!(!daemon.is_gone());
}

#[test]
fn an_ordinary_user_controls_an_own_service() {
    require!(root());
    let scene = Scene::new();
    let ctl = Ctl::ordinary(&scene);
    let daemon = ctl.start();
    assert_eq!(daemon.status().ruid, ORDINARY);
    ctl.succeeds("status");
    assert!(ctl.run("status").stdout.contains(&daemon.pid().to_string()));
    ctl.succeeds("stop");
    ctl.run("status").assert_exited(3);
    scene.assert_no_leftovers();
}

#[test]
fn without_a_pidfile_there_is_nothing_to_control() {
    let scene = Scene::new();
    for command in ["status", "stop", "reload", "restart"] {
        scene
            .launch(daemon_harness::bin("ctl"))
            .arg(command)
            .run()
            .assert_exited(2)
            .assert_says(&["pidfile"]);
    }
}

#[test]
fn it_says_what_it_is_what_it_does_and_what_it_uses() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("status", r"serving\n2");
    let daemon = ctl.start();
    scene.wait_until("its own words, in one line", || {
        json_status(&ctl, 0)["status"] == "serving 2"
    });
    // What answers a command is a thread with a connection of its own, for a moment.
    let mut told = Value::Null;
    scene.wait_until("what is counted here, too", || {
        told = json_status(&ctl, 0);
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        told["descriptors"] == daemon.descriptors().len()
            && status.contains(&format!("\nThreads:\t{}\n", told["threads"]))
    });
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    let memory = told["memory"].as_u64().expect("bytes");
    assert!((1 << 16..1 << 30).contains(&memory), "{told}");
    assert!(told["processor_time"].as_f64().expect("seconds") < 60.0);
    assert!(told["duration"].as_u64().expect("seconds") < 600);
    assert_eq!(
        (&told["manager"], &told["service"]),
        (&json!(null), &json!(null))
    );

    let text = ctl.succeeds("status");
    let lines: Vec<&str> = text.lines().collect();
    let version = format!("version {}, memory ", env!("CARGO_PKG_VERSION"));
    assert!(
        lines.len() == 3
            && lines[0].contains(", for ")
            && lines[1].starts_with(&version)
            && lines[1].contains(", threads ")
            && lines[2] == "status: serving 2",
        "{text}"
    );
}

#[test]
fn it_says_where_the_service_listens_and_not_where_it_is_connected() {
    let scene = Scene::new();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = elsewhere.local_addr().unwrap();
    // A stranger's, of which the path is not text.
    let _stranger = UnixListener::bind(scene.path(OsStr::from_bytes(b"\xff"))).unwrap();
    let path = scene.path("a socket");
    let launch = service(&scene)
        .args([
            "init:bind=127.0.0.1:0",
            "init:bind=[::1]:0",
            "init:bind_udp=127.0.0.1:0",
        ])
        .arg(format!("init:listen={}", path.display()))
        .arg(format!("init:connect={connected}"));
    let daemon = started(launch, &scene);
    let told = json_status(&Ctl::new(&scene), 0);
    let addresses = told["listening"].as_array().expect("an array");
    let addresses: Vec<&str> = addresses.iter().map(|one| one.as_str().unwrap()).collect();
    let (kinds, unix) = addresses.split_at(3);
    let kinds: Vec<&str> = kinds
        .iter()
        .map(|one| one.rsplit_once(':').expect("a port").0)
        .collect();
    assert_eq!(kinds, ["tcp 127.0.0.1", "tcp [::1]", "udp 127.0.0.1"]);
    assert_eq!(unix, [format!("unix {}", path.display())]);
    // The ports are those of the service.
    for address in &addresses[..2] {
        let (_, address) = address.split_once(' ').unwrap();
        TcpStream::connect(address).expect("it listens");
    }
    let text = Ctl::new(&scene).succeeds("status");
    let line = format!("\nlistening: {}\n", addresses.join(", "));
    assert!(text.contains(&line), "{text}");
    scene.stop(&daemon);
}

#[test]
fn it_shows_the_end_of_the_log() {
    let scene = Scene::new();
    let log = scene.file("log", "");
    let ctl = Ctl::new(&scene).with("stderr", &log);
    let last = ["three", "fo\u{1b}ur", "five", "six", "seven"];
    let told = |code: i32| {
        let told = json_status(&ctl, code);
        assert_eq!((&told["log"], &told["lines"]), (&json!(log), &json!(last)));
        let text = ctl.run("status").stdout;
        let end = format!(
            "\nlog: {}\n  three\n  fo\\u{{1b}}ur\n  five\n  six\n  seven\n",
            log.display()
        );
        assert!(text.ends_with(&end), "{text}");
    };
    fs::write(&log, format!("one\ntwo\n{}\n", last.join("\n"))).unwrap();
    told(3);
    let daemon = ctl.start();
    told(0);
    daemon.kill();
    scene.exit_status(&daemon);
    told(1);
    // A service that could put it there has no right to show what root can read.
    let target = scene.file("target", "secret\n");
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(target, &log).unwrap();
    assert_eq!(json_status(&ctl, 1)["lines"], Value::Null);
}

#[test]
fn a_suspended_service_is_not_asked() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("status", "serving");
    let daemon = ctl.start();
    daemon.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || daemon.is_suspended());
    let told = json_status(&ctl, 0);
    assert_eq!(
        (&told["version"], &told["status"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(told["pid"], json!(daemon.pid()));
    daemon.signal(libc::SIGCONT);
}
