//! E07 and E09: the exit statuses of the starter, each provoked from outside, and the word that
//! each gives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use daemon_harness::{
    FORKS, Launch, OVERFLOW, Proc, Scene, SetOnDrop, Started, bin, errno_text, require,
};
use daemon_tests::svc::status_of;
use libc::c_long;
use nix::sys::resource::Resource;

use crate::{failed, only_line, ready, service, stop};

/// An account-less user of this file's own, as the kernel counts the processes of each.
const NOT_IN_PASSWD: u32 = 48_153;

/// Step N has failed, with a message that begins like this.
#[track_caller]
fn step_failed(scene: &Scene, started: &Started, step: i32, words: &str) {
    failed(scene, started, 80 + step);
    let line = only_line(started);
    assert!(
        line.starts_with(&format!("svc: cannot {words}: ")),
        "{line}"
    );
    // The object, and why.
    assert!(line.split(": ").count() >= 4, "{line}");
}

/// A start in which a system call fails.
#[track_caller]
fn denied(call: c_long, errno: i32, step: i32, words: &str) {
    all_denied(&[call], errno, step, words);
}

#[track_caller]
fn all_denied(calls: &[c_long], errno: i32, step: i32, words: &str) {
    require!(root());
    let scene = Scene::new();
    let started = calls
        .iter()
        .fold(service(&scene), |launch, &call| launch.denying(call, errno))
        .run();
    step_failed(&scene, &started, step, words);
    assert!(
        only_line(&started).ends_with(&errno_text(errno)),
        "{started:?}"
    );
}

#[test]
fn e07_at_exit_0_the_pidfile_is_complete_and_names_the_daemon() {
    for _ in 0..20 {
        let scene = Scene::new();
        let started = service(&scene).run();
        // Nothing is waited for here.
        let text = fs::read_to_string(scene.pidfile()).expect("a pidfile");
        let pid: i32 = text
            .strip_suffix('\n')
            .expect("a complete line")
            .parse()
            .expect("a number");
        let daemon = Proc::new(pid).expect("a live process");
        started.assert_ready();
        assert_eq!(
            (daemon.name().as_deref(), daemon.exe()),
            (Some("svc"), bin("svc"))
        );
        assert_eq!(scene.lock_holders(scene.pidfile()).len(), 1);
        stop(&scene, &daemon);
    }
}

#[test]
fn e07_nobody_ever_reads_half_a_pid() {
    let scene = Scene::new();
    let stale = "2147483646 is longer than any pid\nand has lines\n";
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                seen.extend(fs::read_to_string(scene.pidfile()).ok());
                seen.dedup();
            }
            seen
        });
        let done = SetOnDrop(&over);
        let mut pids = Vec::new();
        for _ in 0..20 {
            scene.file("service.pid", stale);
            service(&scene).run().assert_ready();
            let daemon = scene.daemon();
            pids.push(format!("{}\n", daemon.pid()));
            stop(&scene, &daemon);
        }
        drop(done);
        for text in reader.join().expect("no panic while reading") {
            // The first line is what counts: it is whole, or that of the file as the test made it,
            // empty at first.
            let line = text.split_inclusive('\n').next().unwrap_or_default();
            let written = pids.iter().any(|pid| pid == line);
            assert!(written || stale.starts_with(&text), "{text:?}");
        }
    });
}

#[test]
fn e09_a_second_instance_is_80_and_names_the_first() {
    let scene = Scene::new();
    let daemon = ready(&scene, &service(&scene).run());
    let second = service(&scene).run();
    second.assert_exited(80);
    let pidfile = scene.pidfile();
    let holder = format!(
        "svc: already running: {}: held by pid {}",
        pidfile.display(),
        daemon.pid()
    );
    assert_eq!(only_line(&second), holder);
    assert_eq!(
        (scene.daemon().pid(), scene.pid_in_pidfile()),
        (daemon.pid(), Some(daemon.pid()))
    );
    stop(&scene, &daemon);
}

#[test]
fn e09_usage_is_2() {
    for (setting, value) in [
        ("pidfile", r"/x\0y"),
        ("umask", "1777"),
        ("name", "a/b"),
        ("capabilities", "CAP_NONSENSE"),
    ] {
        let scene = Scene::new();
        let started = service(&scene).set(setting, value).run();
        failed(&scene, &started, 2);
        assert!(
            only_line(&started).contains(": invalid setting: "),
            "{started:?}"
        );
    }
}

#[test]
fn e09_a_hook_that_fails_is_1_and_a_wrong_configuration_78() {
    for hook in ["configure", "privileged_init", "init"] {
        let scene = Scene::new();
        failed(
            &scene,
            &service(&scene).arg(format!("{hook}:err=no")).run(),
            status_of(hook),
        );
        let scene = Scene::new();
        let started = service(&scene)
            .arg(format!("{hook}:cat=/no/such/file"))
            .run();
        failed(&scene, &started, status_of(hook));
        started.assert_says(&["No such file or directory"]);
    }
}

#[test]
fn e09_a_hook_that_exits_is_its_status_but_never_0() {
    for hook in ["privileged_init", "init"] {
        for (status, seen) in [
            ("0", 96),
            ("1", 1),
            ("7", 7),
            ("42", 42),
            ("96", 96),
            ("255", 255),
            ("256", 96),
        ] {
            let scene = Scene::new();
            let started = service(&scene).arg(format!("{hook}:exit={status}")).run();
            failed(&scene, &started, seen);
            let code = status.parse::<i32>().unwrap() % 256;
            let guess = ": a hook has called exit(0), or has forked and ended, as daemon(3) does";
            let guess = if code == 0 { guess } else { "" };
            let said = format!(
                "svc: cannot start: the daemon exited with status {code} before it was ready{guess}"
            );
            assert_eq!(only_line(&started), said);
        }
    }
}

#[test]
fn e09_configure_may_exit_as_it_likes() {
    // `--help` and `--version` are successes.
    for status in [0, 1, 3] {
        let scene = Scene::new();
        let started = service(&scene)
            .arg(format!("configure:exit={status}"))
            .run();
        failed(&scene, &started, status);
        assert_eq!(started.stderr, "");
    }
}

#[test]
fn e09_a_daemon_that_a_signal_kills_is_128_and_its_number() {
    let signals = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (6, "SIGABRT"),
        (9, "SIGKILL"),
        (15, "SIGTERM"),
    ];
    for hook in ["privileged_init", "init"] {
        for (signal, name) in signals {
            let scene = Scene::new();
            let started = service(&scene)
                .rlimit(Resource::RLIMIT_CORE, 0, 0)
                .arg(format!("{hook}:kill={signal}"))
                .run();
            failed(&scene, &started, 128 + signal);
            let how = format!(
                "svc: cannot start: the daemon was killed by signal {signal} ({name}) before it was ready"
            );
            assert_eq!(only_line(&started), how);
        }
    }
}

#[test]
fn e09_a_real_time_signal_too() {
    for signal in [34, 64] {
        let scene = Scene::new();
        let started = service(&scene)
            .arg(format!("init:sh=kill -{signal} $PPID; sleep 1000"))
            .run();
        failed(&scene, &started, 128 + signal);
        assert!(only_line(&started).contains(&format!("killed by signal {signal} ")));
    }
}

#[test]
fn e09_an_abort_and_a_stack_overflow_are_of_their_signal() {
    for (action, signal) in [("abort", libc::SIGABRT), ("overflow", OVERFLOW)] {
        let scene = Scene::new();
        let started = service(&scene)
            .rlimit(Resource::RLIMIT_CORE, 0, 0)
            .arg(format!("init:{action}"))
            .run();
        failed(&scene, &started, 128 + signal);
    }
}

#[test]
fn e09_whatever_the_caller_ignores_and_blocks() {
    for (action, status) in [
        ("exit=7", 7),
        ("kill=9", 137),
        ("err=no", 1),
        ("exit=0", 96),
        ("kill=15", 143),
    ] {
        let scene = Scene::new();
        failed(
            &scene,
            &service(&scene)
                .hostile()
                .arg(format!("init:{action}"))
                .run(),
            status,
        );
    }
}

#[test]
fn e09_of_several_ends_the_first_counts() {
    let scene = Scene::new();
    let launch = service(&scene)
        .arg("privileged_init:exit=5")
        .arg("init:exit=6")
        .arg("main:exit=7");
    failed(&scene, &launch.run(), 5);
    let scene = Scene::new();
    failed(
        &scene,
        &service(&scene)
            .arg("privileged_init:err=no")
            .arg("init:exit=6")
            .run(),
        1,
    );
}

#[test]
fn e09_step_1_descriptors_can_neither_be_closed_nor_found() {
    require!(root());
    let scene = Scene::new();
    let launch = service(&scene)
        .without_proc()
        .denying(libc::SYS_close_range, libc::ENOSYS);
    let started = launch.denying(libc::SYS_prlimit64, libc::EPERM).run();
    step_failed(&scene, &started, 1, "close the inherited descriptors");
}

#[test]
fn e09_step_2_signals() {
    require!(tool("strace"));
    // Past what the loader and Rust's runtime do.
    let scene = Scene::new();
    let launch = service(&scene).ignoring_all();
    let started = launch
        .strace("calls", &["-e", "inject=rt_sigaction:error=EPERM:when=40"])
        .run();
    step_failed(&scene, &started, 2, "reset the signal actions");
}

#[test]
fn e09_step_3_the_mask() {
    denied(
        libc::SYS_rt_sigprocmask,
        libc::EPERM,
        3,
        "reset the signal mask",
    );
}

#[test]
fn e09_step_5_the_first_fork() {
    all_denied(FORKS, libc::EAGAIN, 5, "fork the intermediate process");
}

/// Started by a user who may have so many processes.
fn with_processes(scene: &Scene, user: u32, processes: libc::rlim_t) -> Started {
    scene
        .launch(bin("svc"))
        .ordinary(user)
        .rlimit(Resource::RLIMIT_NPROC, processes, processes)
        .run()
}

#[test]
fn e09_steps_5_and_7_too_many_processes() {
    require!(root());
    let scene = Scene::new();
    step_failed(
        &scene,
        &with_processes(&scene, NOT_IN_PASSWD, 1),
        5,
        "fork the intermediate process",
    );
    let scene = Scene::new();
    step_failed(
        &scene,
        &with_processes(&scene, NOT_IN_PASSWD + 1, 2),
        7,
        "fork the daemon",
    );
    let scene = Scene::new();
    with_processes(&scene, NOT_IN_PASSWD + 2, 3).assert_ready();
}

#[test]
fn e09_step_6_the_session() {
    denied(libc::SYS_setsid, libc::EPERM, 6, "create a new session");
}

#[test]
fn e09_step_8_the_starter_cannot_be_told_of_the_daemon() {
    require!(tool("strace"));
    let scene = Scene::new();
    let strace = ["-e", "inject=writev:error=EIO:when=1"];
    let started = service(&scene)
        .arg("init:sleep=5000")
        .strace("calls", &strace)
        .run();
    started.assert_exited(88);
    scene.assert_no_leftovers();
}

#[test]
fn e09_step_9_a_log_in_no_directory() {
    for stream in ["stdout", "stderr"] {
        let scene = Scene::new();
        let log = scene.path("no/such/log");
        let started = service(&scene).set(stream, &log).run();
        step_failed(
            &scene,
            &started,
            9,
            &format!("connect the standard streams: {}", log.display()),
        );
    }
}

#[test]
fn e09_step_9_the_null_device_is_a_file() {
    require!(root());
    let scene = Scene::new();
    let file = scene.file("null", "");
    let script = format!("mount --bind {} /dev/null && exec \"$@\"", file.display());
    let launch = scene
        .launch("/usr/bin/unshare")
        .args(["--mount", "/bin/sh", "-c", &script, "sh"])
        .arg(bin("svc"));
    let started = launch.set("pidfile", scene.pidfile()).run();
    step_failed(
        &scene,
        &started,
        9,
        "connect the standard streams: /dev/null",
    );
    assert_eq!(fs::read_to_string(file).unwrap(), "");
}

#[test]
fn e09_step_11_no_such_directory() {
    let scene = Scene::new();
    let file = scene.file("file", "");
    for directory in [scene.path("no/such/directory"), file] {
        let started = service(&scene).set("working_directory", &directory).run();
        step_failed(
            &scene,
            &started,
            11,
            &format!("change the working directory: {}", directory.display()),
        );
    }
}

#[test]
fn e09_step_12_a_pidfile_that_cannot_be_written() {
    let scene = Scene::new();
    let pidfile = scene.path("no/such/service.pid");
    let started = scene.launch(bin("svc")).set("pidfile", &pidfile).run();
    step_failed(
        &scene,
        &started,
        12,
        &format!("write the pidfile: {}", pidfile.display()),
    );
    require!(root());
    let started = service(&scene).ordinary(4711).run();
    step_failed(&scene, &started, 12, "write the pidfile");
}

#[test]
fn e09_step_12_a_full_disk() {
    require!(root());
    let scene = Scene::new();
    let disk = scene.dir("disk", 0o755, None);
    let script = format!(
        "mount -t tmpfs -o size=4k,mode=755 none {0} && head -c 4096 /dev/zero >{0}/rest && exec \"$@\"",
        disk.display()
    );
    let launch = scene
        .launch("/usr/bin/unshare")
        .args(["--mount", "/bin/sh", "-c", &script, "sh"])
        .arg(bin("svc"));
    let started = launch.set("pidfile", disk.join("service.pid")).run();
    step_failed(&scene, &started, 12, "write the pidfile");
    started.assert_says(&["No space left on device"]);
}

/// A start during which this shell command is run, of which `PIDFILE` is the pidfile.
fn tampered(scene: &Scene, hook: &str, command: &str) -> Started {
    let command = command.replace("PIDFILE", scene.pidfile().to_str().unwrap());
    service(scene).arg(format!("{hook}:sh={command}")).run()
}

#[test]
fn e09_step_12_the_pidfile_is_removed_or_overwritten_during_the_start() {
    for hook in ["privileged_init", "init"] {
        for command in [
            "rm PIDFILE",
            "mv PIDFILE PIDFILE.old; rm PIDFILE.old",
            "echo 1 >PIDFILE",
        ] {
            let scene = Scene::new();
            step_failed(
                &scene,
                &tampered(&scene, hook, command),
                12,
                "write the pidfile",
            );
        }
    }
}

#[test]
fn e09_step_12_the_pidfile_is_replaced_during_the_start() {
    for hook in ["privileged_init", "init"] {
        let scene = Scene::new();
        let started = tampered(
            &scene,
            hook,
            "echo a successor >PIDFILE.new; mv PIDFILE.new PIDFILE",
        );
        started
            .assert_exited(92)
            .assert_says(&["svc: cannot write the pidfile: "]);
        scene.assert_no_leftovers();
        // What is another's is not removed.
        assert_eq!(
            fs::read_to_string(scene.pidfile()).unwrap(),
            "a successor\n"
        );
    }
}

#[test]
fn e09_step_13_unknown_users_and_groups() {
    for (setting, value) in [
        ("user", "no-such-user"),
        ("group", "no-such-group"),
        ("groups", "no-such-group"),
    ] {
        let scene = Scene::new();
        let started = service(&scene).set(setting, value).run();
        step_failed(&scene, &started, 13, "drop privileges");
        started.assert_says(&[value]);
    }
}

#[test]
fn e09_step_13_no_permission() {
    require!(root());
    let scene = Scene::new();
    let run = scene.dir("run", 0o755, Some(4711));
    let launch = |name: &str| {
        scene
            .launch(bin("svc"))
            .set("pidfile", run.join(name))
            .ordinary(4711)
    };
    let started = launch("one").set("user", "nobody").run();
    step_failed(&scene, &started, 13, "drop privileges");
    let started = launch("two").set("chroot", run.to_str().unwrap()).run();
    step_failed(&scene, &started, 13, "drop privileges");
    assert!(!run.join("one").exists() && !run.join("two").exists());
}

#[test]
fn e09_step_14_readiness_cannot_be_announced() {
    require!(tool("strace"));
    let scene = Scene::new();
    // The daemon's second message; the intermediate process has one.
    let strace = ["-e", "inject=writev:error=EIO:when=2"];
    let started = service(&scene)
        .arg("init:status=the first")
        .strace("calls", &strace)
        .run();
    started.assert_exited(94);
    let text = "svc: the first\nsvc: cannot announce that initialization is complete: ";
    assert!(started.stderr.starts_with(text), "{started:?}");
    scene.assert_no_leftovers();
}

#[test]
fn e09_step_15_the_daemon_cannot_be_waited_for() {
    require!(root());
    let scene = Scene::new();
    let started = service(&scene).denying(libc::SYS_prctl, libc::EPERM).run();
    step_failed(&scene, &started, 15, "wait for the daemon");
}

#[test]
fn e09_every_failure_holds_in_the_foreground_too() {
    let cases = [
        ("init:err=no", 1),
        ("init:panic=no", 101),
        ("init:exit=7", 7),
        ("privileged_init:err=no", 1),
    ];
    for (action, status) in cases {
        let scene = Scene::new();
        let launch: Launch<'_> = service(&scene).env("DAEMON_MODE", "foreground").arg(action);
        failed(&scene, &launch.run(), status);
    }
    let scene = Scene::new();
    let started = service(&scene)
        .env("DAEMON_MODE", "foreground")
        .set("user", "no-such-user")
        .run();
    step_failed(&scene, &started, 13, "drop privileges");
}
