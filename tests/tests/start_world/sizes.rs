//! Numbers beyond 32 bits, or at the end of their type.

use std::fs;

use daemon_harness::{Scene, Started, bin, require};
use daemon_tests::svc::service;

/// Makes surroundings, `$1` being a directory; `$2` is the service with its commands.
const COMMANDS: &str =
    r#"for command in start status reload restart stop; do "$2" $command || exit; done"#;

/// Gives each command in namespaces of its own, after a script.
fn in_namespaces(scene: &Scene, namespaces: &[&str], script: &str, pidfile: &str) -> Started {
    let pidfile = scene.path(pidfile);
    let launch = scene
        .launch("/usr/bin/unshare")
        .args(namespaces)
        .args(["/bin/sh", "-c"]);
    launch
        .arg(format!("set -e\ncd \"$1\"\n{script}\n{COMMANDS}"))
        .arg("sh")
        .arg(scene.path(""))
        .arg(bin("ctl"))
        .env("CTL", format!("reloads= pidfile={}", pidfile.display()))
        .run()
}

#[track_caller]
fn assert_obeyed(done: &Started) {
    done.assert_exited(0);
    for says in [
        "ctl is running: ",
        "ctl reloaded",
        "ctl restarted: ",
        "ctl stopped: ",
    ] {
        assert!(done.stdout.contains(says), "{says}: {done:?}");
    }
}

/// What an overlay shows of a lower layer that is another file system has the highest bit set.
#[test]
fn a_pidfile_can_have_an_inode_number_of_64_bits() {
    require!(root(), kernel_of_64_bits(), tool("unshare"));
    let scene = Scene::new();
    let script = "mkdir lower upper work both
        mount -t tmpfs lower lower
        mkdir lower/run
        echo 1 >lower/run/service.pid
        mount -t overlay -o xino=on,lowerdir=lower,upperdir=upper,workdir=work overlay both
        stat -c %i both/run/service.pid | grep -q '^[0-9]\\{11,\\}$'";
    let done = in_namespaces(&scene, &["--mount"], script, "both/run/service.pid");
    assert_obeyed(&done);
}

#[test]
fn a_log_can_have_more_than_4_gib() {
    let scene = Scene::new();
    let (log, length) = (scene.path("log"), 5 << 30);
    fs::File::create(&log).unwrap().set_len(length).unwrap();
    let launch = service(&scene).set("stdout", &log).arg("init:sh=echo more");
    launch.run().assert_ready();
    scene.wait_until("more", || fs::metadata(&log).unwrap().len() > length);
    scene.stop(&scene.daemon());
}

/// There is no user 4294967295: that is -1. The last ones look like the numbers of errors.
#[test]
fn the_last_user_is_one() {
    require!(root());
    for id in [1 << 16, 1 << 31, u32::MAX - 4096, u32::MAX - 1] {
        let scene = Scene::new();
        let launch = service(&scene).set("user", id.to_string());
        launch.set("group", id.to_string()).run().assert_ready();
        let daemon = scene.daemon();
        let status = daemon.status();
        assert_eq!([status.ruid, status.rgid], [id; 2]);
        scene.stop(&daemon);
    }
}

/// Since Linux 6.14 each namespace has its own greatest pid, 4194304 at most.
#[test]
fn pids_can_be_the_last_before_they_begin_again() {
    require!(root(), tool("unshare"));
    let scene = Scene::new();
    let script = "cd /proc/sys/kernel
        case $(uname -r) in
            6.1[4-9].* | 6.[2-9][0-9].* | [7-9].*) echo 4194304 >pid_max ;;
        esac
        echo $(($(cat pid_max) - 20)) >ns_last_pid";
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    assert_obeyed(&in_namespaces(&scene, &namespaces, script, "service.pid"));
}

/// The seconds since then do not fit into 32 bits.
#[test]
fn the_machine_can_have_run_for_a_hundred_years() {
    const NARROW: bool = cfg!(all(target_env = "musl", target_pointer_width = "32"));
    require!(
        root(),
        tool("unshare"),
        that(!NARROW, "needs a standard library whose time has 64 bits")
    );
    let scene = Scene::new();
    let years = 100_u64 * 365 * 24 * 3600;
    let namespaces = [
        "--time",
        "--fork",
        "--boottime",
        &years.to_string(),
        "--monotonic",
        &years.to_string(),
    ];
    assert_obeyed(&in_namespaces(&scene, &namespaces, "", "service.pid"));
}
