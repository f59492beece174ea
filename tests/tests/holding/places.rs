//! C5, C6: what is left at the end of a service that could not remove its pidfile; relative paths,
//! clocks, old kernels.

use std::fs;
use std::time::Duration;

use daemon_harness::{Scene, errno_text, require};

use crate::Held;

fn end(held: &Held<'_>, signal: i32) {
    let daemon = held.daemon();
    daemon.signal(signal);
    daemon.wait_gone(Duration::from_secs(10));
    // Its other threads may need another moment.
    held.scene.wait_until("a free lock", || !held.is_locked());
}

#[test]
fn c5_after_an_orderly_end_a_service_of_another_user_is_not_running() {
    require!(root());
    let jail = |scene: &Scene| format!("chroot={}", scene.dir("jail", 0o755, None).display());
    let settings: [&dyn Fn(&Scene) -> String; 2] = [&|_| "user=nobody".to_owned(), &jail];
    for setting in settings {
        let scene = Scene::new();
        let held = Held::new(&scene).with(&setting(&scene));
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            held.run("start", 0);
            end(&held, signal);
            assert!(held.pidfile.exists(), "it could not remove it");
            assert_eq!(held.says("status", 3), "held is not running\n");
            let json = held.says("status --json", 3);
            assert!(
                json.contains(r#""state":"not running","pid":null"#),
                "{json}"
            );
            held.run("reload", 1).assert_says(&["it is not running"]);
        }
        assert_eq!(held.says("stop", 0), "held is not running\n");
        assert!(
            !held.pidfile.exists() && !scene.path("service.pid.control").exists(),
            "root has removed both"
        );

        held.run("start", 0);
        let daemon = held.daemon();
        assert!(held.says("stop", 0).starts_with("held stopped: pid "));
        assert!(
            daemon.is_gone()
                && !held.pidfile.exists()
                && !scene.path("service.pid.control").exists()
        );
        held.run("status", 3);
    }
}

/// Where it could have removed it, the file says that it has died.
#[test]
fn c5_one_that_removes_its_pidfile_and_has_not_is_dead() {
    let scene = Scene::new();
    let held = Held::new(&scene);
    held.run("start", 0);
    end(&held, libc::SIGKILL);
    let status = held.says("status", 1);
    assert!(status.starts_with("held is dead"), "{status}");
    held.run("start", 0);
    held.run("stop", 0);
    held.run("status", 3);
}

#[test]
fn c6_a_relative_path_means_the_current_directory_of_that_moment() {
    let scene = Scene::new();
    let held = Held::new(&scene);
    held.run("start", 0);
    let daemon = held.daemon();
    for path in ["service.pid", "./service.pid", "../x/service.pid"] {
        let path = path.replace(
            "../x",
            &format!(
                "../{}",
                scene.path("").file_name().unwrap().to_str().unwrap()
            ),
        );
        let asked = Held {
            words: format!("path={path}"),
            ..held.clone()
        };
        let said = asked
            .command("status")
            .current_dir(scene.path(""))
            .run()
            .stdout;
        assert!(
            said.starts_with(&format!(
                "Ok(Running {{ pid: {}, since: Some(",
                daemon.pid()
            )),
            "{path}: {said}"
        );
    }
    held.run("stop", 0);
}

/// A service that asks about itself closes a descriptor of its own pidfile, if the library lets it.
#[test]
fn c6_a_service_may_ask_about_itself() {
    let scene = Scene::new();
    let answer = scene.path("answer");
    let held = Held::new(&scene).with(&format!("asks={}", answer.display()));
    held.run("start", 0);
    let daemon = held.daemon();
    let running = format!("Ok(Running {{ pid: {}, since: Some(", daemon.pid());
    scene.wait_until("its answer", || {
        fs::read_to_string(&answer).is_ok_and(|said| said.starts_with(&running))
    });
    // In a container, say, where nothing else would tell.
    let status = held.command("status").without_proc().run();
    if require::root().is_ok() {
        assert_eq!(
            status.assert_exited(0).stdout,
            format!(
                "held is running: pid {}\nversion {}\n",
                daemon.pid(),
                env!("CARGO_PKG_VERSION")
            )
        );
    }
    held.run("stop", 0);
}

/// The clock of a machine that has not asked for the time yet.
const CLOCK: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) { time->tv_sec = 0; time->tv_nsec = 1; }
    return result;
}
";

#[test]
fn c6_a_clock_near_1970_makes_no_difference() {
    require!(tool("cc"), glibc());
    let scene = Scene::new();
    let (source, library) = (scene.file("clock.c", CLOCK), scene.path("clock.so"));
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()));
    let held = Held::new(&scene);
    held.run("start", 0);
    let daemon = held.daemon();
    for line in ["status", "status --json", "stop"] {
        let done = held.command(line).env("LD_PRELOAD", &library).run();
        done.assert_exited(0);
        assert!(
            done.stdout.contains(&daemon.pid().to_string())
                && !done.stdout.replace("\"since\":null", "").contains("since"),
            "{done:?}"
        );
    }
    assert!(daemon.is_gone());
}

/// Linux before 5.3, and filters of older container engines.
#[test]
fn c6_without_pidfds_the_locks_will_do() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let scene = Scene::new();
        let held = Held::new(&scene);
        held.run("start", 0);
        let daemon = held.daemon();
        let without = |line: &str| {
            held.command(line)
                .denying(libc::SYS_pidfd_open, errno)
                .run()
        };
        without("status").assert_exited(0);
        without("reload").assert_exited(0);
        let stopped = without("stop");
        assert_eq!(
            stopped.assert_exited(0).stdout,
            format!("held stopped: pid {}\n", daemon.pid())
        );
        scene.wait_until("its end", || daemon.is_gone());
        assert!(!held.is_locked());
        without("status").assert_exited(3);
    }
}

/// Nothing but the descriptors in /proc says who holds this one, and that may be another by the
/// time of the signal.
#[test]
fn c6_without_pidfds_and_without_that_lock_no_signal_is_sent() {
    require!(tool("flock"));
    let scene = Scene::new();
    let held = Held::new(&scene);
    let script = "echo $$ >\"$0\" && exec flock \"$0\" sleep 1000";
    let other = scene
        .launch("/bin/sh")
        .args(["-c", script])
        .arg(&held.pidfile)
        .spawn();
    fs::set_permissions(
        scene.path(""),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    scene.wait_until("the lock", || held.is_locked());
    held.run("status", 0);
    let stop = held
        .command("stop")
        .denying(libc::SYS_pidfd_open, libc::ENOSYS)
        .run();
    stop.assert_exited(1)
        .assert_says(&["pidfd_open", &errno_text(libc::ENOSYS)]);
    assert!(other.is_running());
}
