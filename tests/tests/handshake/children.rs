//! E02 and rule 2: whatever `init` has started ends with a failed start, wherever it has gone and
//! whatever it holds; what the starter had as children before is spared.

use std::fs;

use daemon_harness::{Launch, Proc, Scene, bin, require};

use crate::{Barrier, failed, half_started, nothing_left, ready, service};

/// A child of `init`.
#[derive(Clone, Copy, Debug)]
struct Child {
    /// How `svc` starts it.
    action: &'static str,
    /// What it executes, `STARTED` being the command by which it says that it has come so far.
    script: &'static str,
}

/// Children with exec, from the most docile to those that try to get away.
const CHILDREN: [Child; 10] = [
    Child {
        action: "spawn",
        script: "STARTED; exec sleep 1000",
    },
    Child {
        action: "spawn",
        script: "sleep 1000 & STARTED; wait",
    },
    Child {
        action: "spawn",
        script: "trap '' HUP INT QUIT TERM; STARTED; while :; do sleep 1; done",
    },
    Child {
        action: "spawn",
        script: "STARTED; kill -STOP $$",
    },
    Child {
        action: "spawn_apart",
        script: "STARTED; exec sleep 1000",
    },
    Child {
        action: "spawn",
        script: "exec setsid sh -c 'STARTED; exec sleep 1000'",
    },
    // Orphans, in sessions of their own: daemons of an older fashion.
    Child {
        action: "sh",
        script: "setsid sh -c 'STARTED; exec sleep 1000' & exit 0",
    },
    Child {
        action: "sh",
        script: "setsid sh -c '(setsid sh -c \"STARTED; sleep 1000; :\" &) ; exit 0' & exit 0",
    },
    Child {
        action: "sh",
        script: "setsid sh -c 'STARTED; kill -STOP $$' & exit 0",
    },
    // Always new ones, while the old ones are being killed.
    Child {
        action: "spawn",
        script: "STARTED; while :; do (setsid sleep 0.2 &) ; sleep 0.01; done",
    },
];

/// The service, whose `init` starts these and waits until they are there.
fn parent<'s>(scene: &'s Scene, launch: Launch<'s>, children: &[Child]) -> Launch<'s> {
    let mut launch = launch;
    for (number, Child { action, script }) in children.iter().enumerate() {
        let file = scene.path(format!("started-{number}"));
        let script = script.replace("STARTED", &format!("echo >{}", file.display()));
        launch = launch.arg(format!("init:{action}={script}"));
    }
    let started = scene.path("started-");
    let all = format!(
        "while [ $(ls {}* | wc -l) -lt {} ]; do sleep 0.01; done",
        started.display(),
        children.len()
    );
    launch.arg(format!("init:sh={all}"))
}

#[test]
fn e02_the_daemon_is_killed_while_a_child_lives() {
    for child in CHILDREN {
        let scene = Scene::new();
        let started = parent(&scene, service(&scene), &[child])
            .arg("init:kill=9")
            .run();
        started.assert_says(&["killed by signal 9"]);
        failed(&scene, &started, 137);
    }
}

#[test]
fn e02_the_daemon_is_killed_while_a_child_without_exec_lives() {
    let scene = Scene::new();
    // It holds all that the daemon held: the pipe to the starter, and the lock.
    let started = service(&scene)
        .arg("privileged_init:fork")
        .arg("init:fork")
        .arg("init:kill=9")
        .run();
    failed(&scene, &started, 137);
}

#[test]
fn e02_the_daemon_is_killed_from_outside_while_children_live() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = parent(&scene, service(&scene), &CHILDREN[..5])
        .arg("init:status=here")
        .args(barrier.at("init"));
    let running = running.spawn();
    barrier.await_hook();
    half_started(&scene, &running).kill();
    failed(&scene, &running.wait(), 137);
}

#[test]
fn e02_however_the_start_fails_all_children_end() {
    let endings = [
        ("err=no", 1),
        ("panic=no", 101),
        ("exit=7", 7),
        ("exit=0", 96),
        ("abort", 134),
        ("kill=15", 143),
    ];
    for (ending, status) in endings {
        let scene = Scene::new();
        let launch = parent(&scene, service(&scene), &CHILDREN).arg("init:fork");
        failed(&scene, &launch.arg(format!("init:{ending}")).run(), status);
    }
}

/// The kernel cuts the name of a process at 15 bytes: here in the middle of a letter.
#[test]
fn e02_all_children_end_where_the_name_of_the_program_is_cut() {
    let scene = Scene::new();
    let program = scene.path("überwachungsdämon");
    fs::copy(bin("svc"), &program).unwrap();
    let launch = scene.launch(&program).set("pidfile", scene.pidfile());
    let launch = parent(&scene, launch, &CHILDREN).arg("init:err=no");
    failed(&scene, &launch.run(), 1);
}

#[test]
fn e02_all_children_end_where_children_are_not_listed() {
    require!(root());
    // Without /proc nobody can tell who the orphans are: but the group is killed.
    let scene = Scene::new();
    let launch = parent(&scene, service(&scene), &CHILDREN[..4])
        .arg("init:fork")
        .arg("init:err=no")
        .without_proc();
    failed(&scene, &launch.run(), 1);
}

#[test]
fn e02_after_a_good_start_they_live_on() {
    let scene = Scene::new();
    let started = parent(&scene, service(&scene), &CHILDREN[..1])
        .arg("init:fork")
        .run();
    started.assert_ready();
    scene.wait_until("the starter's end", || scene.processes().len() == 3);
    let pid = scene.pid_in_pidfile().unwrap();
    let children = scene
        .processes()
        .iter()
        .filter(|process| process.stat().ppid == pid)
        .count();
    assert_eq!(children, 2, "{}", scene.tree());
}

#[test]
fn e02_a_child_that_ends_by_itself_is_none_of_the_starters_business() {
    let scene = Scene::new();
    // Orphans of the daemon, which come to the starter while it waits; and the daemon's own child.
    let launch = service(&scene)
        .arg("init:sh=(exit 3) & sh -c 'kill -9 $$' & exit 0")
        .arg("init:fork_exit");
    let launch =
        launch.arg("init:sh=for i in 1 2 3 4 5; do sh -c '(sleep 0.01; exit 4) & exit 0'; done");
    ready(&scene, &launch.arg("init:sleep=50").run());
}

/// A shell that has these children, and then becomes the starter, as `exec` in an init script does.
fn shell_with_children<'s>(scene: &'s Scene, script: &str) -> Launch<'s> {
    let pids = scene.path("spared");
    let script = format!(
        "{script}\nwhile [ ! -s {} ]; do sleep 0.01; done; exec \"$@\"",
        pids.display()
    );
    scene
        .launch("/bin/sh")
        .args([
            "-c",
            &script.replace("SPARED", &pids.display().to_string()),
            "sh",
        ])
        .arg(bin("svc"))
        .set("pidfile", scene.pidfile())
        .stdout(daemon_harness::Stdio::Null)
}

/// The process whose pid its shell has noted.
fn spared(scene: &Scene) -> Option<Proc> {
    let pid = fs::read_to_string(scene.path("spared"))
        .unwrap()
        .trim()
        .parse()
        .expect("a pid");
    Proc::new(pid).filter(|process| !process.is_gone())
}

#[test]
fn the_starters_own_children_are_spared() {
    for script in [
        "sleep 1000 2>/dev/null & echo $! >SPARED",
        "setsid sh -c 'echo $$ >SPARED; exec sleep 1000 2>/dev/null' &",
        // It comes to the starter while that waits, or ends the start.
        "sh -c 'sleep 1000 2>/dev/null & echo $! >SPARED; sleep 0.05' &",
        "kill -STOP $(sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! | tee SPARED')",
    ] {
        for ending in ["err=no", "kill=9"] {
            let scene = Scene::new();
            let launch = parent(&scene, shell_with_children(&scene, script), &CHILDREN[..5]);
            let started = launch
                .arg("init:fork")
                .arg("init:sleep=60")
                .arg(format!("init:{ending}"))
                .run();
            assert!(!started.status.success(), "{started:?}");
            let spared = spared(&scene).expect("a child that is spared");
            spared.kill();
            spared.wait_gone(crate::PROMPT);
            // Of the service nothing is left.
            scene.wait_until("the end of all", || {
                scene
                    .processes()
                    .iter()
                    .all(|process| process.name().as_deref() == Some("sh"))
            });
            scene.wait_until("the end of all", || scene.processes().is_empty());
            nothing_left(&scene, &started);
        }
    }
}

#[test]
fn zombies_that_the_starter_had_change_nothing() {
    let scene = Scene::new();
    let script = "true & false & sh -c 'kill -9 $$' & sleep 0.05; echo 1 >SPARED";
    ready(&scene, &shell_with_children(&scene, script).run());
    let scene = Scene::new();
    failed(
        &scene,
        &shell_with_children(&scene, script).arg("init:err=no").run(),
        1,
    );
}
