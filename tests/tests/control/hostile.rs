//! E28: a signal never hits another process, whatever the pidfile says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use daemon_harness::{Running, Scene, bin, require};
use daemon_rt::control::{Control, Status, Stopped};
use daemon_tests::ctl::{Ctl, ORDINARY};

use crate::id;

/// A process that nobody has a reason to hit.
fn stranger(scene: &Scene) -> Running<'_> {
    scene.launch("/bin/sleep").arg("1000").spawn()
}

/// No command harms the stranger, and the file is named with the reason.
#[track_caller]
fn assert_refused(scene: &Scene, stranger: &Running<'_>, reason: &str) {
    let ctl = Ctl::new(scene);
    let status = ctl.run("status");
    assert!(
        status.assert_exited(4).stdout.contains(reason),
        "{reason:?} is missing: {status:?}"
    );
    for command in ["stop", "reload", "restart"] {
        ctl.run(command)
            .assert_exited(1)
            .assert_says(&["service.pid", reason]);
    }
    assert!(stranger.is_running());
}

#[test]
fn e28_a_forged_pid_is_not_signalled() {
    let scene = Scene::new();
    let stranger = stranger(&scene);
    scene.file("service.pid", format!("{}\n", stranger.pid()));
    let control = Control::new(scene.pidfile());
    assert_eq!(
        control.status().unwrap(),
        Status::Dead {
            pid: Some(id(stranger.pid()))
        }
    );
    assert_eq!(
        control.stop(std::time::Duration::ZERO).unwrap(),
        Stopped::NotRunning
    );
    let ctl = Ctl::new(&scene);
    ctl.run("status").assert_exited(1);
    ctl.succeeds("stop");
    ctl.run("reload")
        .assert_exited(1)
        .assert_says(&["is not running"]);
    assert!(stranger.is_running());
}

/// The service runs, but its file names a process that does not hold the lock.
#[test]
fn e28_a_live_services_forged_file_is_not_believed() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let (daemon, stranger) = (ctl.start(), stranger(&scene));
    fs::write(scene.pidfile(), format!("{}\n", stranger.pid())).unwrap();
    assert_refused(&scene, &stranger, "which it does not name");
    assert!(!daemon.is_gone());
}

#[test]
fn e28_root_trusts_no_file_that_another_can_write() {
    require!(root(), tool("flock"));
    let scene = Scene::new();
    // It even holds the lock.
    let path = scene.file("service.pid", "");
    let lock = |path: &Path| {
        scene
            .launch("/usr/bin/flock")
            .arg("-n")
            .arg(path)
            .args(["sleep", "1000"])
            .spawn()
    };
    let stranger = lock(&path);
    scene.wait_until("the lock", || scene.lock_holders(&path) == [stranger.pid()]);
    fs::write(&path, format!("{}\n", stranger.pid())).unwrap();
    Ctl::new(&scene).succeeds("status");

    chown(&path, Some(ORDINARY), None).unwrap();
    assert_refused(&scene, &stranger, "a user other than root can write it");
    chown(&path, Some(0), None).unwrap();
    for mode in [0o620, 0o602] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_refused(&scene, &stranger, "a user other than root can write it");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(scene.path(""), PermissionsExt::from_mode(0o777)).unwrap();
    assert_refused(&scene, &stranger, "can be written by others");
    fs::set_permissions(scene.path(""), PermissionsExt::from_mode(0o755)).unwrap();

    let elsewhere = scene.path("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_refused(&scene, &stranger, "symbolic link");
    fs::remove_file(&path).unwrap();
    fs::hard_link(&elsewhere, &path).unwrap();
    assert_refused(&scene, &stranger, "more than one hard link");
}

#[test]
fn e28_a_fifo_or_a_directory_is_no_pidfile() {
    let scene = Scene::new();
    let stranger = stranger(&scene);
    fs::create_dir(scene.pidfile()).unwrap();
    assert_refused(&scene, &stranger, "directory");
    fs::remove_dir(scene.pidfile()).unwrap();
    let _gate = scene.gate("service.pid");
    assert_refused(&scene, &stranger, "FIFO");
}

/// In a process namespace of its own the next pid can be chosen: a stranger gets the dead daemon's.
const REUSE: &str = r#"
ctl=$1 pidfile=$2
for try in 1 2 3 4 5 6 7 8 9 10; do
    "$ctl" start || exit
    pid=$(cat "$pidfile")
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
    sleep 1000 &
    [ $! = "$pid" ] && break
    kill $!
done
[ $! = "$pid" ] || exit 99
"$ctl" status; echo "status $?"
"$ctl" stop; echo "stop $?"
"$ctl" reload; echo "reload $?"
kill -0 "$pid" && echo "the stranger lives"
"$ctl" restart && "$ctl" stop
kill -0 "$pid" && echo "the stranger still lives"
"#;

#[test]
fn e28_a_stranger_that_has_the_dead_daemons_pid_is_not_hit() {
    require!(root(), tool("unshare"));
    let scene = Scene::new();
    let ctl = bin("ctl");
    let launch = scene.launch("/usr/bin/unshare").args([
        "--pid",
        "--fork",
        "--mount-proc",
        "/bin/sh",
        "-c",
        REUSE,
        "sh",
    ]);
    let done = launch
        .arg(ctl)
        .arg(scene.pidfile())
        .env("CTL", format!("pidfile={}", scene.pidfile().display()))
        .run();
    done.assert_exited(0);
    for words in [
        "status 1\n",
        "stop 0\n",
        "reload 1\n",
        "the stranger lives\n",
        "the stranger still lives\n",
    ] {
        assert!(
            done.stdout.contains(words),
            "{words:?} is missing: {done:?}"
        );
    }
}

/// No time is left between the look at the lock and the signal in which the pid could become
/// another's.
#[test]
fn e28_the_lock_is_looked_at_after_the_process_is_open() {
    require!(tool("strace"));
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let pid = ctl.start().pid();
    let calls = "trace=pidfd_open,fcntl,pidfd_send_signal,kill,tkill,tgkill,flock";
    ctl.command("stop")
        .strace("calls", &["-e", calls])
        .run()
        .assert_exited(0);
    let log = fs::read_to_string(scene.path("calls")).unwrap();
    let after = |words: &str, lines: &str| {
        let (_, rest) = lines
            .split_once(words)
            .unwrap_or_else(|| panic!("no {words} in {lines} of {log}"));
        rest.to_owned()
    };
    let opened = after(&format!("pidfd_open({pid}"), &log);
    let looked = after(
        &format!(
            "F_OFD_GETLK, {{l_type=F_RDLCK, l_whence=SEEK_SET, l_start={}",
            (1 << 24) + pid
        ),
        &opened,
    );
    after("pidfd_send_signal", &looked);
    assert!(!log.contains("kill(") && !log.contains("flock("), "{log}");
}
