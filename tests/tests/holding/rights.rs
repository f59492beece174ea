//! C3, C4: processes that may not be looked at, and locks that have nothing to do with the service.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use daemon_harness::{Hidden, Namespaces, ProcMount, Scene, bin, require, set_file_capabilities};

use crate::{Container, Held, ORDINARY};

/// The mask of a capability.
const NET_BIND_SERVICE: u32 = 1 << 10;

/// A copy of the program with this mode, root's.
fn copy(scene: &Scene, mode: u32) -> std::path::PathBuf {
    let copy = scene.path("held");
    fs::copy(bin("held"), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(mode)).unwrap();
    copy
}

/// Its directory in /proc is root's, and its user must not look into it. (Not every kernel makes a
/// program so that has capabilities or cannot be read: hence `hides`.)
fn assert_not_dumpable(held: &Held<'_>) {
    held.run("start", 0);
    let daemon = held.daemon();
    assert_eq!(
        fs::metadata(format!("/proc/{}/fd", daemon.pid()))
            .unwrap()
            .uid(),
        0,
        "the test tests nothing"
    );
    held.run("stop", 0);
}

#[test]
fn c4_an_ordinary_user_controls_a_program_with_file_capabilities() {
    require!(root());
    let scene = Scene::new();
    let program = copy(&scene, 0o755);
    set_file_capabilities(&program, NET_BIND_SERVICE).unwrap();
    for words in ["hides", "hides reads"] {
        let held = Held {
            program: program.clone(),
            ..Held::ordinary(&scene)
        }
        .with(words);
        assert_not_dumpable(&held);
        held.assert_is_controlled();
        fs::remove_dir_all(scene.path("ordinary")).unwrap();
    }
}

#[test]
fn c4_an_ordinary_user_controls_a_program_that_cannot_be_read() {
    require!(root());
    let scene = Scene::new();
    let held = Held {
        program: copy(&scene, 0o711),
        ..Held::ordinary(&scene)
    }
    .with("hides");
    assert_not_dumpable(&held);
    held.assert_is_controlled();
}

#[test]
fn c4_an_ordinary_user_controls_an_own_service_whatever_is_at_proc() {
    require!(root());
    for hidden in [
        Hidden::Nothing,
        Hidden::ProcessesOfOthers,
        Hidden::AllButProcesses,
    ] {
        let scene = Scene::new();
        let namespaces = Namespaces {
            pids: true,
            proc: ProcMount::New(hidden),
            run_of: None,
            root_is: None,
        };
        let container = Container::new(&scene, namespaces);
        let held = Held::ordinary(&scene);
        held.inside(&container).assert_is_controlled();
    }
    for absent in [ProcMount::Absent, ProcMount::Outer] {
        let scene = Scene::new();
        let container = Container::new(
            &scene,
            Namespaces {
                pids: true,
                proc: absent,
                run_of: None,
                root_is: None,
            },
        );
        Held::ordinary(&scene)
            .inside(&container)
            .assert_is_controlled();
    }
}

/// On two new file systems in memory the same inode numbers mean different files.
const NEIGHBOURS: &str = r#"
set -e
mkdir -p "$1" "$2"
mount -t tmpfs -o mode=755 none "$1"
mount -t tmpfs none "$2"
"$0" start
pid=$(cat "$1/service.pid")
kill -KILL "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
i=0
while [ $i -lt 60 ]; do echo x >"$2/$i"; i=$((i + 1)); done
ls -i "$1/service.pid" | { read inode name; ls -i "$2" | grep -q "^ *$inode " || { echo no neighbour; exit 9; }; }
set +e
set -- "$1" "$2" "$2"/*
first=$1; shift 2
for file in "$@"; do flock "$file" sleep 1000 & done
sleep 0.2
"$0" status; echo "status $?"
"$0" stop; echo "stop $?"
"$0" start; echo "start $?"
"$0" status; echo "status $?"
"$0" restart; echo "restart $?"
"$0" stop; echo "stop $?"
"$0" status; echo "status $?"
kill $(jobs -p)
"#;

#[test]
fn c3_locks_on_the_same_inode_number_of_another_file_system_say_nothing() {
    require!(root(), tool("unshare"), tool("flock"));
    let scene = Scene::new();
    let (own, other) = (scene.path("own"), scene.path("other"));
    let held = Held::at(&scene, own.join("service.pid"));
    let launch = scene
        .launch("/usr/bin/unshare")
        .args(["-m", "/bin/sh", "-c", NEIGHBOURS])
        .arg(bin("held"));
    let launch = launch
        .arg(&own)
        .arg(&other)
        .env("HELD", &held.words)
        .env("DAEMON_MODE", "detach");
    let done = launch.limit(std::time::Duration::from_mins(1)).run();
    let ends: Vec<_> = done
        .stdout
        .lines()
        .filter(|line| line.ends_with(|c: char| c.is_ascii_digit()))
        .collect();
    let ends: Vec<_> = ends
        .into_iter()
        .filter(|line| line.split(' ').count() == 2)
        .collect();
    let expected = [
        "status 1",
        "stop 0",
        "start 0",
        "status 0",
        "restart 0",
        "stop 0",
        "status 3",
    ];
    assert_eq!(ends, expected, "{done:?}");
    assert!(held.processes().is_empty());
}

/// Who may only read the pidfile learns who runs, and can do nothing.
#[test]
fn c4_a_reader_is_told() {
    require!(root());
    let scene = Scene::new();
    let held = Held::new(&scene);
    held.run("start", 0);
    let daemon = held.daemon();
    fs::set_permissions(&held.pidfile, Permissions::from_mode(0o644)).unwrap();
    let reader = Held {
        uid: Some(ORDINARY),
        ..held.clone()
    };
    assert!(
        reader
            .says("status", 0)
            .starts_with(&format!("held is running: pid {}", daemon.pid()))
    );
    reader
        .run("stop", 1)
        .assert_says(&["pidfd_send_signal", "Operation not permitted"]);
    assert_eq!(held.daemon().pid(), daemon.pid());
    held.run("stop", 0);
}
