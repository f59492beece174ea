//! What a manager hears, with the test itself as the manager: sd_notify(3) at `NOTIFY_SOCKET`, and
//! a newline at `DAEMON_NOTIFY_FD`.

use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};
use std::{fs, process};

use daemon_harness::managers::NotifySocket;
use daemon_harness::{Launch, POLLS, Scene, bin, errno_text};
use daemon_tests::ctl::Ctl;

/// A scene with a manager, and the service under it.
fn managed(scene: &Scene) -> (NotifySocket, Launch<'_>) {
    let path = scene.path("notify");
    let manager = NotifySocket::at(&path);
    (
        manager,
        scene
            .launch(bin("svc"))
            .env("NOTIFY_SOCKET", path)
            .arg("init:expect_shutdown"),
    )
}

#[test]
fn e45_ready_comes_once_after_init_and_stopping_once() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let mut gate = scene.gate("init");
    let wait = format!("init:sh=read _ <{}", scene.path("init").display());
    let mark = scene.path("in-init");
    let launch = launch
        .arg(format!("init:write={}", mark.display()))
        .arg(wait);
    let (over, linger) = (
        scene.path("over"),
        format!("main:sh=read _ <{}", scene.path("end").display()),
    );
    let over_mark = format!("main:write={}", over.display());
    let mut end = scene.gate("end");
    let running = launch
        .args([
            "main:status=serving",
            "main:shutdown",
            "main:shutdown",
            &over_mark,
            &linger,
        ])
        .spawn();
    scene.wait_until("init", || mark.exists());
    assert_eq!(
        manager.pending(),
        Vec::<String>::new(),
        "before init is over"
    );
    gate.open();
    fs::write(scene.path("init"), "go\n").expect("the gate");
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=serving");
    running.signal(libc::SIGTERM);
    scene.wait_until("the end of the main loop", || over.exists());
    running.signal(libc::SIGTERM);
    end.open();
    fs::write(scene.path("end"), "go\n").expect("the gate");
    assert!(running.wait().status.success());
    assert_eq!(manager.pending(), ["STOPPING=1"]);
}

/// Whoever gives it may be a service, whose manager hears of no other.
#[test]
fn a_control_command_tells_its_callers_manager_nothing() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene);
    let path = scene.path("notify");
    let manager = NotifySocket::at(&path);
    let commands = |end: &str| {
        for line in ["status", "check", "kill HUP", "reload", "unit sysv", end] {
            ctl.command(line).env("NOTIFY_SOCKET", &path).run();
            assert_eq!(manager.pending(), Vec::<String>::new(), "{line}");
        }
    };
    commands("stop");
    ctl.start();
    commands("stop");
}

#[test]
fn status_of_a_start_asks_for_more_time_and_is_one_line() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch
        .arg("init:status=half\nREADY=1")
        .arg("main:status=up")
        .spawn();
    assert_eq!(
        manager.next(),
        "STATUS=half READY=1\nEXTEND_TIMEOUT_USEC=30000000"
    );
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=up");
    running.wait();
}

#[test]
fn no_text_makes_a_message_that_a_manager_ignores() {
    let scene = Scene::new();
    for action in ["init:err=", r"init:panic=\0"] {
        let long = "x".repeat(5000);
        let (manager, launch) = managed(&scene);
        let running = launch
            .arg(r"init:status=half \0 way")
            .arg(format!("init:status={long}"))
            .arg(format!("{action}{long}"))
            .spawn();
        let extension = "EXTEND_TIMEOUT_USEC=30000000";
        assert_eq!(manager.next(), format!("STATUS=half   way\n{extension}"));
        let cut = format!("… [cut at 500 bytes]\n{extension}");
        assert!(manager.next().ends_with(&cut), "{cut}");
        let failed = manager.next();
        assert!(
            failed.contains("xx… [cut at 4000 bytes]\nEXIT_STATUS="),
            "{failed}"
        );
        assert_eq!(manager.next(), "BARRIER=1");
        assert!(!running.wait().status.success());
        fs::remove_file(scene.path("notify")).expect("the socket");
    }
}

#[test]
fn a_failed_init_tells_status_errno_and_exit_status() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch.arg("init:bind=192.0.2.1:1").spawn();
    let message = manager.next();
    let lines: Vec<_> = message.lines().collect();
    assert!(
        lines[0].starts_with("STATUS=") && lines[0].contains(&errno_text(libc::EADDRNOTAVAIL)),
        "{message}"
    );
    assert_eq!(
        lines[1..],
        [
            format!("ERRNO={}", libc::EADDRNOTAVAIL),
            "EXIT_STATUS=1".to_owned()
        ]
    );
    assert_eq!(manager.next(), "BARRIER=1");
    running.wait().assert_exited(1);
}

#[test]
fn a_failure_of_several_lines_cannot_pretend_to_be_ready() {
    let scene = Scene::new();
    for action in ["init:err=no\nREADY=1", "init:panic=no\nREADY=1"] {
        let (manager, launch) = managed(&scene);
        let running = launch.arg(action).spawn();
        let told = manager.until("BARRIER=1").join("\n");
        let lines: Vec<_> = told.lines().collect();
        assert!(!running.wait().status.success());
        assert!(!lines.contains(&"READY=1"), "{lines:?}");
        fs::remove_file(scene.path("notify")).expect("the socket");
    }
}

#[test]
fn e45_a_reload_is_reloading_with_the_time_then_ready() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch.arg("init:reloads").arg("main:shutdown").spawn();
    assert_eq!(manager.next(), "READY=1");
    let mut before = 0;
    for _ in 0..3 {
        running.signal(libc::SIGHUP);
        let message = manager.next();
        let time = message
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .expect("both in one message");
        let time: u64 = time.parse().expect("a number");
        assert!(time > before, "{time} after {before}");
        before = time;
        assert_eq!(manager.next(), "READY=1");
    }
    running.signal(libc::SIGTERM);
    assert!(running.wait().status.success());
    assert_eq!(manager.next(), "STOPPING=1");
}

/// It would be lost with the message that ends the reload, and the service stay "reloading".
#[test]
fn a_reload_that_fails_with_any_text_has_an_end() {
    let scene = Scene::new();
    let manager = NotifySocket::at(scene.path("notify"));
    let reload = scene.file(
        "reload",
        "a \0 in line 7\nREADY=0".to_owned() + &"x".repeat(5000),
    );
    let running = scene
        .launch(bin("signals"))
        .env("NOTIFY_SOCKET", scene.path("notify"))
        .set("reload", reload)
        .set("notes", scene.path("notes"))
        .args(["init:reloads", "init:shutdown=SIGTERM"])
        .spawn();
    assert_eq!(manager.next(), "READY=1");
    running.signal(libc::SIGHUP);
    assert!(manager.next().starts_with("RELOADING=1\n"));
    let failed = manager.next();
    let is_whole = failed.starts_with("STATUS=cannot reload: a   in line 7 READY=0xx");
    assert!(is_whole && failed.ends_with("\nREADY=1"), "{failed}");
    running.signal(libc::SIGTERM);
    assert!(running.wait().status.success());
}

#[test]
fn mode_detach_has_the_starter_name_the_daemon() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch.set("mode", "detach").arg("init:status=half").spawn();
    let messages = manager.until("BARRIER=1");
    running.wait().assert_ready();
    let daemon = scene.daemon();
    assert_eq!(
        messages,
        [
            "STATUS=half\nEXTEND_TIMEOUT_USEC=30000000",
            &format!("MAINPID={}\nREADY=1", daemon.pid())
        ]
    );
    assert!(scene.stop(&daemon).success());
    assert_eq!(manager.pending(), ["STOPPING=1"]);
}

#[test]
fn mode_detach_has_the_starter_say_why_it_failed() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch.set("mode", "detach").arg("init:kill=9").spawn();
    let told = manager.until("BARRIER=1").concat();
    running.wait().assert_exited(137);
    assert!(
        told.contains("killed by signal 9") && told.ends_with("EXIT_STATUS=137"),
        "{told}"
    );
    scene.assert_no_leftovers();
}

#[test]
fn both_ways_of_readiness_at_once() {
    let scene = Scene::new();
    for mode in ["foreground", "detach"] {
        let (manager, launch) = managed(&scene);
        let file = scene.file(format!("ready-{mode}"), "");
        let launch = launch
            .env("DAEMON_NOTIFY_FD", "7")
            .descriptor(7, &file)
            .set("mode", mode);
        let running = launch.spawn();
        manager.until(if mode == "detach" {
            "BARRIER=1"
        } else {
            "READY=1"
        });
        scene.wait_until("the newline", || {
            fs::read_to_string(&file).expect("a file") == "\n"
        });
        let holds = || {
            scene
                .processes()
                .iter()
                .any(|process| process.descriptor_of(&file).is_some())
        };
        scene.wait_until("the end of the descriptor", || !holds());
        let service = scene
            .processes()
            .into_iter()
            .next_back()
            .expect("the service");
        service.signal(libc::SIGTERM);
        running.wait();
        scene.wait_until("its end", || service.is_gone());
        assert_eq!(fs::read_to_string(&file).expect("a file"), "\n", "once");
        fs::remove_file(scene.path("notify")).expect("the socket");
    }
}

#[test]
fn the_readiness_descriptor_closes_without_a_newline_where_init_fails() {
    let scene = Scene::new();
    let file = scene.file("ready", "");
    let launch = scene
        .launch(bin("svc"))
        .env("DAEMON_NOTIFY_FD", "7")
        .descriptor(7, &file);
    launch.arg("init:err=no").run().assert_exited(1);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "");
}

#[test]
fn e12_the_readiness_descriptor_is_not_inherited_by_children() {
    let scene = Scene::new();
    let file = scene.file("ready", "");
    let list = format!(
        "init:sh=ls -l /proc/self/fd >{}",
        scene.path("list").display()
    );
    let launch = scene
        .launch(bin("svc"))
        .env("DAEMON_NOTIFY_FD", "7")
        .descriptor(7, &file);
    launch.arg(list).arg("main:exit=0").run().assert_exited(0);
    let list = fs::read_to_string(scene.path("list")).expect("a list");
    assert!(!list.contains(file.to_str().expect("UTF-8")), "{list}");
}

#[test]
fn e42_an_abstract_socket_is_as_good_as_a_path() {
    let scene = Scene::new();
    let name = format!("daemon-tests-{}", process::id());
    let manager = NotifySocket::abstract_name(&name);
    let running = scene
        .launch(bin("svc"))
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .arg("init:expect_shutdown")
        .spawn();
    assert_eq!(manager.next(), "READY=1");
    running.signal(libc::SIGTERM);
    assert!(running.wait().status.success());
}

/// A socket that nobody reads any more, things that are no sockets, and addresses that are none.
#[test]
fn e42_a_bad_or_dead_socket_is_a_warning() {
    let scene = Scene::new();
    let dead = scene.path("dead");
    drop(NotifySocket::at(&dead));
    assert!(
        fs::metadata(&dead)
            .expect("it is still there")
            .file_type()
            .is_socket()
    );
    let file = scene.file("file", "");
    let long = format!("/{}", "x".repeat(4000));
    let [dead, file] = [dead, file].map(|path| path.to_str().expect("UTF-8").to_owned());
    // Whether or not the kernel has vsock: nobody is there.
    let vsocks = [
        "vsock",
        "vsock:",
        "vsock:2",
        "vsock:x:1",
        "vsock:1:2:3",
        "vsock-stream:4294967295:1",
        "vsock-dgram:1:1",
    ];
    let others = [
        dead.as_str(),
        &file,
        &long,
        "/nowhere/notify",
        "@nobody-is-there",
        "@",
        "",
        "relative",
        "tcp:1:2",
    ];
    for address in others.into_iter().chain(vsocks) {
        let launch = scene
            .launch(bin("svc"))
            .env("NOTIFY_SOCKET", address)
            .arg("main:exit=9");
        launch
            .run()
            .assert_exited(9)
            .assert_says(&["svc: cannot notify the manager: NOTIFY_SOCKET"]);
    }
}

/// Nobody listens there, here as on most machines: this shows that the address is understood and
/// tried.
#[test]
fn e42_a_vsock_address_is_understood() {
    let scene = Scene::new();
    for address in [
        "vsock-stream:1:4294967294",
        "vsock-seqpacket:1:1",
        "vsock-dgram:1:1",
    ] {
        let started = scene
            .launch(bin("svc"))
            .env("NOTIFY_SOCKET", address)
            .arg("main:exit=9")
            .run();
        started
            .assert_exited(9)
            .assert_says(&["svc: cannot notify the manager: NOTIFY_SOCKET vsock"]);
        assert!(
            !started.stderr.contains("it is no address"),
            "{}",
            started.stderr
        );
    }
}

#[test]
fn e42_a_bad_readiness_descriptor_is_a_warning() {
    let scene = Scene::new();
    for number in ["99", "-1", "x", "", "0", "4294967299"] {
        let launch = scene
            .launch(bin("svc"))
            .env("DAEMON_NOTIFY_FD", number)
            .arg("main:exit=9");
        launch
            .run()
            .assert_exited(9)
            .assert_says(&["svc: cannot notify the manager: DAEMON_NOTIFY_FD"]);
    }
}

#[test]
fn e42_a_manager_that_dies_does_not_end_the_service() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let running = launch.arg("init:reloads").arg("main:shutdown").spawn();
    assert_eq!(manager.next(), "READY=1");
    drop(manager);
    running.signal(libc::SIGHUP);
    scene.wait_until("a warning", || {
        running
            .stderr()
            .contains("svc: cannot notify the manager: NOTIFY_SOCKET")
    });
    running.signal(libc::SIGTERM);
    assert!(running.wait().status.success());
}

#[test]
fn e42_a_manager_that_does_not_read_only_delays() {
    let scene = Scene::new();
    let (_manager, launch) = managed(&scene);
    let began = Instant::now();
    let flood = (0..300).map(|number| format!("init:status=number {number}"));
    let started = launch.args(flood).arg("main:exit=9").run();
    started.assert_exited(9);
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// What is to be said is not lost by a signal that comes while the service waits for room.
#[test]
fn e42_a_signal_does_not_end_the_wait_for_a_manager_that_does_not_read() {
    let scene = Scene::new();
    let (manager, launch) = managed(&scene);
    let flood = (0..300).map(|number| format!("init:status=number {number}"));
    let mark = scene.path("in-init");
    let launch = launch
        .args(flood)
        .arg(format!("init:write={}", mark.display()));
    let running = launch.spawn();
    scene.wait_until("the wait for room", || {
        mark.exists() && running.process().sleeps_in(POLLS).is_some()
    });
    running.signal(libc::SIGTERM);
    scene.wait_until("its handler", || running.process().status().shdpnd == 0);
    manager.until("READY=1");
    manager.until("STOPPING=1");
    running.wait().assert_exited(0);
}

#[test]
fn e41_nothing_that_the_service_starts_sees_the_protocols() {
    let scene = Scene::new();
    let variables = [
        (
            "NOTIFY_SOCKET",
            scene.path("notify").to_str().expect("UTF-8").to_owned(),
        ),
        ("WATCHDOG_USEC", "1000000".into()),
        ("WATCHDOG_PID", "1".into()),
        ("LISTEN_FDS", "1".into()),
        ("LISTEN_PID", "1".into()),
        ("LISTEN_FDNAMES", "x".into()),
        ("LISTEN_PIDFDID", "1".into()),
        ("DAEMON_NOTIFY_FD", "7".into()),
        ("DAEMON_MODE", "foreground".into()),
        ("SYSTEMD_EXEC_PID", "1".into()),
        ("PIDFILE", "/run/x.pid".into()),
    ];
    let _manager = NotifySocket::at(scene.path("notify"));
    for hook in ["configure", "privileged_init", "init", "main"] {
        let seen = scene.path("seen");
        let mut launch = scene
            .launch(bin("svc"))
            .env("INVOCATION_ID", "stays")
            .descriptors([7]);
        for (name, value) in &variables {
            launch = launch.env(name, value);
        }
        launch
            .arg(format!("{hook}:environ={}", seen.display()))
            .arg("main:exit=0")
            .run()
            .assert_exited(0);
        let seen = fs::read(seen).expect("an environment");
        let seen = String::from_utf8_lossy(&seen);
        for (name, _) in &variables {
            assert!(
                !seen
                    .split('\0')
                    .any(|entry| entry.starts_with(&format!("{name}="))),
                "{hook}: {seen}"
            );
        }
        assert!(
            seen.contains("INVOCATION_ID=stays"),
            "the manager's own environment stays"
        );
    }
}

#[test]
fn e44_a_watchdog_is_ours_or_none() {
    let scene = Scene::new();
    let out = scene.path("interval");
    let interval = |script: &str, usec: &str| {
        let (manager, launch) = managed(&scene);
        drop(launch);
        let svc = format!(
            "{} init:watchdog={} main:ping main:ping",
            bin("svc").display(),
            out.display()
        );
        let path = scene.path("notify");
        let launch = scene
            .launch("/bin/sh")
            .arg("-c")
            .arg(script.replace("SVC", &svc))
            .env("WATCHDOG_USEC", usec);
        launch.env("NOTIFY_SOCKET", &path).run().assert_exited(0);
        fs::remove_file(path).expect("the socket");
        let pings = manager
            .pending()
            .iter()
            .filter(|message| *message == "WATCHDOG=1")
            .count();
        (
            fs::read_to_string(&out)
                .expect("an interval")
                .trim()
                .to_owned(),
            pings,
        )
    };
    let some = ("Some(1s)".to_owned(), 2);
    let none = ("None".to_owned(), 0);
    assert_eq!(
        interval("export WATCHDOG_PID=$$; exec SVC", "2000000"),
        some
    );
    assert_eq!(interval("exec SVC", "2000000"), some);
    assert_eq!(
        interval("export WATCHDOG_PID=$$; SVC; exit $?", "2000000"),
        none
    );
    assert_eq!(interval("export WATCHDOG_PID=1; exec SVC", "2000000"), none);
    assert_eq!(interval("export WATCHDOG_PID=x; exec SVC", "2000000"), none);
    for nonsense in ["", "0", "-1", "x", "99999999999999999999999"] {
        assert_eq!(interval("exec SVC", nonsense), none, "{nonsense}");
    }
}
