//! What the service is doing: LSB's statuses, as text, as JSON, and as the library's type.

use std::fs;
use std::time::{Duration, SystemTime};

use daemon_harness::{PATIENCE, Scene, require};
use daemon_rt::control::{Control, Status};
use daemon_tests::ctl::{Ctl, ORDINARY};
use daemon_tests::svc::{at_barrier, barrier};
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
fn a_suspended_service_is_not_asked() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene).with("status", "serving");
    let daemon = ctl.start();
    daemon.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || daemon.stat().state == 'T');
    let told = json_status(&ctl, 0);
    assert_eq!(
        (&told["version"], &told["status"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(told["pid"], json!(daemon.pid()));
    daemon.signal(libc::SIGCONT);
}
