//! C1, C2: the service and who asks are in pid namespaces, together or apart.

use std::fs;

use daemon_harness::{Hidden, Namespaces, ProcMount, Scene, require};

use crate::{Container, Held};

const PLAIN: Namespaces = Namespaces {
    pids: true,
    proc: ProcMount::New(Hidden::Nothing),
    run_of: None,
    root_is: None,
};

/// All that can be at /proc in a container.
const PROCS: [ProcMount; 5] = [
    ProcMount::New(Hidden::Nothing),
    ProcMount::New(Hidden::ProcessesOfOthers),
    ProcMount::New(Hidden::AllButProcesses),
    ProcMount::Outer,
    ProcMount::Absent,
];

#[test]
fn c1_in_a_pid_namespace_root_without_ptrace_controls_the_service_of_another_user() {
    require!(root());
    let scene = Scene::new();
    let container = Container::new(&scene, PLAIN);
    Held::new(&scene)
        .with("user=nobody")
        .as_in_docker()
        .inside(&container)
        .assert_is_controlled();
}

#[test]
fn c1_whatever_is_at_proc() {
    require!(root());
    for proc in PROCS {
        for user in ["", "user=nobody"] {
            let scene = Scene::new();
            let container = Container::new(&scene, Namespaces { proc, ..PLAIN });
            Held::new(&scene)
                .with(user)
                .as_in_docker()
                .inside(&container)
                .assert_is_controlled();
        }
    }
}

/// The lock that the process has for itself is lost. Who listens on the control socket tells.
#[test]
fn c1_the_service_has_read_its_own_pidfile() {
    require!(root());
    for proc in PROCS {
        let scene = Scene::new();
        let container = Container::new(&scene, Namespaces { proc, ..PLAIN });
        Held::new(&scene)
            .with("user=nobody reads")
            .as_in_docker()
            .inside(&container)
            .assert_is_controlled();
    }
}

/// The same, and no control socket either: then it is not known who it is, and nothing is said that
/// is not.
#[test]
fn c1_what_cannot_be_told_is_unknown() {
    require!(root());
    let scene = Scene::new();
    let container = Container::new(&scene, PLAIN);
    let held = Held::new(&scene)
        .with("user=nobody reads")
        .as_in_docker()
        .inside(&container);
    held.run("start", 0);
    let daemon = held.daemon();
    fs::remove_file(scene.path("service.pid.control")).unwrap();
    let status = held.says("status", 4);
    assert!(
        status.contains("held by a process that cannot be seen from here"),
        "{status}"
    );
    for command in ["stop", "reload", "restart"] {
        held.run(command, 1)
            .assert_says(&["cannot be seen from here"]);
    }
    held.run("start", 80)
        .assert_says(&["already running", "cannot be seen from here"]);
    assert_eq!(held.daemon().pid(), daemon.pid());
    daemon.kill();
    daemon.wait_gone(std::time::Duration::from_secs(5));
    scene.wait_until("a free lock", || !held.is_locked());
    held.run("status", 3);
}

#[test]
fn c2_from_another_pid_namespace_it_runs_and_is_out_of_reach() {
    require!(root());
    for words in ["", "user=nobody"] {
        let scene = Scene::new();
        let (here, there) = (Container::new(&scene, PLAIN), Container::new(&scene, PLAIN));
        let held = Held::new(&scene).with(words).inside(&here);
        held.run("start", 0);
        let daemon = held.daemon();
        let pid = scene.pid_in_pidfile().expect("a pid");
        assert_ne!(pid, daemon.pid());
        let other = held.inside(&there);
        assert_eq!(
            other.says("status", 0),
            format!("held is running in another pid namespace, as pid {pid} there\n")
        );
        let json: serde_json::Value =
            serde_json::from_str(&other.says("status --json", 0)).unwrap();
        assert_eq!(json["state"], "running elsewhere");
        assert_eq!(json["pid_there"], pid);
        assert!(json["pid"].is_null() && json["since"].is_null(), "{json}");
        for command in ["stop", "reload", "restart"] {
            other
                .run(command, 1)
                .assert_says(&[&format!("in another pid namespace, as pid {pid} there")]);
        }
        other.run("start", 80).assert_says(&[&format!(
            "held in another pid namespace, by pid {pid} there"
        )]);
        assert_eq!(held.daemon().pid(), daemon.pid());
        held.run("stop", 0);
        other.run("status", 3);
        other.assert_is_controlled();
    }
}

/// From the namespace above it has another number, which the kernel tells.
#[test]
fn c2_from_the_namespace_above_it_is_controlled() {
    require!(root());
    for words in ["", "user=nobody", "user=nobody reads"] {
        let scene = Scene::new();
        let container = Container::new(&scene, PLAIN);
        let held = Held::new(&scene).with(words);
        held.inside(&container).run("start", 0);
        let daemon = held.daemon();
        let status = held.says("status", 0);
        assert!(
            status.starts_with(&format!("held is running: pid {}", daemon.pid())),
            "{words}: {status}"
        );
        held.run("start", 80)
            .assert_says(&[&format!("held by pid {}", daemon.pid())]);
        assert_eq!(
            held.says("stop", 0),
            format!("held stopped: pid {}\n", daemon.pid())
        );
        assert!(daemon.is_gone() && !held.is_locked());
    }
}

/// The main process was killed, and a worker that it has forked holds the lock.
#[test]
fn c2_a_worker_that_is_left_is_no_service_and_not_nothing() {
    require!(root());
    for (container, docker) in [(false, false), (true, true)] {
        let scene = Scene::new();
        let namespaces = container.then(|| Container::new(&scene, PLAIN));
        let mut held = Held::new(&scene).with("worker user=nobody");
        if docker {
            held = held.as_in_docker();
        }
        if let Some(namespaces) = &namespaces {
            held = held.inside(namespaces);
        }
        held.run("start", 0);
        scene.wait_until("two processes", || held.processes().len() == 2);
        let both = held.processes();
        let is_worker = |process: &daemon_harness::Proc| {
            both.iter().any(|other| other.pid() == process.stat().ppid)
        };
        let worker = both
            .iter()
            .find(|process| is_worker(process))
            .expect("a worker");
        let main = both
            .iter()
            .find(|process| process.pid() != worker.pid())
            .expect("the main process");
        main.kill();
        scene.wait_until("the end of the main process", || {
            held.processes().len() == 1
        });
        assert!(held.is_locked());

        let pid = scene.pid_in_pidfile().expect("a pid");
        let words = format!(
            "its main process, pid {pid}, has ended, but a process that it left behind holds the lock"
        );
        let status = held.says("status", 4);
        assert!(status.contains(&words), "{status}");
        assert_eq!(
            status.contains(&format!(": pid {}\n", worker.pid())),
            !docker,
            "named where it is seen: {status}"
        );
        for command in ["stop", "reload", "restart"] {
            held.run(command, 1).assert_says(&[&words]);
        }
        held.run("start", 80)
            .assert_says(&["already running", &words]);
        assert_eq!(held.processes().len(), 1);

        worker.kill();
        worker.wait_gone(std::time::Duration::from_secs(5));
        scene.wait_until("a free lock", || !held.is_locked());
        held.run("status", 3);
        held.run("start", 0);
        held.with("").run("stop", 0);
    }
}

/// The lock is free, and the marks are gone, but not the process.
#[test]
fn c2_a_service_that_has_closed_its_lock_is_not_said_to_have_ended() {
    let scene = Scene::new();
    let held = Held::new(&scene).with("closes");
    held.run("start", 0);
    scene.wait_until("the lock is lost", || !held.is_locked());
    let service = held.processes().remove(0);
    // What still waits on the control socket tells of it, a last time.
    scene.wait_until("silence on it", || {
        !held.command("status").run().status.success()
    });
    let words = format!(
        "the pidfile names pid {}, which runs but does not hold its lock",
        service.pid()
    );
    let status = held.says("status", 4);
    assert!(status.contains(&words), "{status}");
    for line in ["stop", "reload", "restart"] {
        held.run(line, 1).assert_says(&[&words]);
    }
    assert!(!service.is_gone());
    // Another can start, and is the one that is controlled.
    let other = Held::new(&scene);
    other.run("start", 0);
    assert_ne!(scene.pid_in_pidfile(), Some(service.pid()));
    other.run("stop", 0);
    assert!(!service.is_gone());
    service.send(libc::SIGKILL);
    service.wait_gone(std::time::Duration::from_secs(10));
}
