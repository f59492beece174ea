//! The starter's last word: the hook `started` runs in the starter, last, and what comes of it does
//! not change that the service runs.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;

use daemon_harness::managers::NotifySocket;
use daemon_harness::{Launch, Proc, Running, Scene, Started, Stdio, bin};
use daemon_tests::svc::named_daemon;

use crate::{Barrier, PROMPT, failed, ready, stop};

/// The service, with the scene's pidfile.
fn service(scene: &Scene) -> Launch<'_> {
    scene
        .launch(bin("announcing"))
        .set("pidfile", scene.pidfile())
}

/// What the hook `started:say` prints.
fn told(daemon: &Proc) -> String {
    let pid = daemon.pid();
    format!("told: Some(Started {{ pid: {pid}, already_running: false }})\n")
}

/// What the message of `message` is.
fn message(daemon: &Proc) -> String {
    format!("the service runs as process {}\n", daemon.pid())
}

/// A start that has come to a barrier in its last word, and its daemon.
fn speaking<'s>(
    scene: &'s Scene,
    barrier: &Barrier<'s>,
    launch: Launch<'s>,
) -> (Running<'s>, Proc) {
    let running = launch.args(barrier.at("started")).spawn();
    barrier.await_hook();
    (running, named_daemon(scene))
}

/// The daemon runs, alone, and its pidfile names it, however the starter has ended.
#[track_caller]
fn assert_runs(scene: &Scene) -> Proc {
    let daemon = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    daemon
}

/// The starter has said this and no more.
#[track_caller]
fn assert_said(started: &Started, stdout: &str, stderr: &str) {
    assert_eq!((&*started.stdout, &*started.stderr), (stdout, stderr));
}

#[test]
fn it_is_told_the_daemon() {
    let scene = Scene::new();
    let started = service(&scene).arg("started:say").run();
    let daemon = ready(&scene, &started);
    assert_said(&started, &told(&daemon), "");
    stop(&scene, &daemon);
}

#[test]
fn a_message_is_a_line_with_the_pid() {
    let scene = Scene::new();
    let started = service(&scene).arg("message").run();
    let daemon = ready(&scene, &started);
    assert_said(&started, &message(&daemon), "");
    stop(&scene, &daemon);
}

/// Nothing of it is lost, whatever is buffered.
#[test]
fn it_comes_after_what_configure_has_printed() {
    let scene = Scene::new();
    let started = service(&scene)
        .args(["configure:print=starting … ", "started:print=done"])
        .run();
    ready(&scene, &started);
    assert_said(&started, "starting … done", "");
}

#[test]
fn on_a_terminal_it_comes_after_the_progress_and_stays() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let running = service(&scene)
        .arg("configure:println=starting")
        .arg("init:status=loading")
        .args(barrier.at("init"))
        .args(["started:say", "started:print=and that is all"])
        .on_terminal()
        .spawn();
    scene.terminal().wait_for("\r\x1b[Kannouncing: loading");
    barrier.open();
    let daemon = ready(&scene, &running.wait());
    let told = told(&daemon).replace('\n', "\r\n");
    let shown = format!("starting\r\n\r\x1b[Kannouncing: loading\r\x1b[K{told}and that is all");
    scene.terminal().wait_for("and that is all");
    assert_eq!(scene.terminal().shown(), shown);
}

#[test]
fn the_manager_was_told_before() {
    let scene = Scene::new();
    let manager = NotifySocket::at(scene.path("notify"));
    let barrier = Barrier::new(&scene);
    let launch = service(&scene)
        .env("NOTIFY_SOCKET", scene.path("notify"))
        .env("DAEMON_MODE", "detach");
    let running = launch.args(barrier.at("started")).spawn();
    let told = manager.until("READY=1").concat();
    assert_eq!(manager.next(), "BARRIER=1");
    barrier.await_hook();
    let pid = format!("MAINPID={}", scene.pid_in_pidfile().expect("a pid"));
    assert!(told.contains(&pid), "{told}");
    barrier.open();
    ready(&scene, &running.wait());
}

#[test]
fn it_does_not_run_where_the_start_fails() {
    let scene = Scene::new();
    let started = service(&scene).args(["init:err=no", "started:say"]).run();
    failed(&scene, &started, 1);
    assert_said(&started, "", "announcing: cannot initialize: no\n");
}

#[test]
fn it_does_not_run_in_the_foreground() {
    for words in [&["started:say"][..], &["message"]] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let running = service(&scene)
            .args(words)
            .args(barrier.at("main"))
            .env("DAEMON_MODE", "foreground")
            .spawn();
        barrier.await_hook();
        barrier.open();
        running.signal(libc::SIGTERM);
        let ended = running.wait();
        assert!(ended.status.success() || ended.status.signal() == Some(libc::SIGTERM));
        assert_said(&ended, "", "");
    }
}

#[test]
fn it_does_not_run_where_another_instance_runs() {
    let scene = Scene::new();
    let daemon = ready(&scene, &service(&scene).run());
    let second = || service(&scene).arg("started:say");
    let refused = second().run();
    refused.assert_exited(80).assert_says(&["already running"]);
    assert_eq!(refused.stdout, "");
    let left = second().set("already_running", "wait").run();
    assert_said(left.assert_ready(), "", "");
    assert_eq!(assert_runs(&scene).pid(), daemon.pid());
}

#[test]
fn a_service_that_a_program_launches_has_it_too() {
    let scene = Scene::new();
    let noted = scene.path("noted");
    let launched = scene
        .launch(bin("launcher"))
        .set("pidfile", scene.pidfile())
        .arg("--")
        .arg(bin("announcing"))
        .set("pidfile", scene.pidfile())
        .arg("started:say")
        .arg(format!("started:note={}:here", noted.display()))
        .run();
    launched.assert_exited(0);
    let daemon = assert_runs(&scene);
    assert_said(&launched, &format!("{} first\n", daemon.pid()), "");
    assert_eq!(fs::read_to_string(noted).expect("a last word"), "here\n");
}

/// The old instance does not end by itself, which the restarter waits for, and says.
#[test]
fn in_a_restart_it_comes_after_the_end_of_the_old_instance() {
    let scene = Scene::new();
    let handing_over = || service(&scene).set("control_socket", "").arg("init:listen");
    let old = ready(&scene, &handing_over().arg("main:hang").run());
    let restart = handing_over().set("restart", "300").arg("started:say");
    assert!(restart.on_terminal().run().status.success());
    let killed = format!(
        "announcing: the old instance did not end in 300ms and was killed (pid {})\n",
        old.pid()
    );
    let new = assert_runs(&scene);
    let shown = (killed + &told(&new)).replace('\n', "\r\n");
    scene.terminal().wait_for(&shown);
    assert_eq!(scene.terminal().shown(), shown);
}

#[test]
fn the_service_does_not_wait_for_it() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let served = scene.path("served");
    let launch = service(&scene).arg(format!("main:note={}:here", served.display()));
    let (running, _) = speaking(&scene, &barrier, launch);
    scene.wait_until("the main loop", || served.exists());
    assert!(running.is_running());
    barrier.open();
    ready(&scene, &running.wait());
}

#[test]
fn it_may_take_longer_than_start_timeout() {
    let scene = Scene::new();
    let started = service(&scene)
        .set("start_timeout", "4000")
        .args(["started:sleep=4100", "started:say"])
        .run();
    let daemon = ready(&scene, &started);
    assert_said(&started, &told(&daemon), "");
}

/// The lock of the pidfile ends with the daemon, although the starter had it, too.
#[test]
fn while_it_waits_the_service_may_die_and_start_again() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (running, first) = speaking(&scene, &barrier, service(&scene));
    first.kill();
    first.wait_gone(PROMPT);
    assert_eq!(scene.lock_holders(scene.pidfile()), Vec::<i32>::new());
    service(&scene).run().assert_ready();
    let second = scene.pid_in_pidfile();
    assert_ne!(second, Some(first.pid()));
    barrier.open();
    running.wait().assert_ready();
    assert_eq!(scene.pid_in_pidfile(), second);
    assert_runs(&scene);
}

#[test]
fn it_is_interrupted_as_any_program_and_the_service_runs_on() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        let scene = Scene::new();
        let barrier = Barrier::new(&scene);
        let (running, daemon) = speaking(&scene, &barrier, service(&scene));
        running.signal(signal);
        let ended = running.wait();
        ended.assert_killed(signal);
        assert_said(&ended, "", "");
        assert_eq!(assert_runs(&scene).pid(), daemon.pid());
        stop(&scene, &daemon);
    }
}

#[test]
fn ctrl_c_on_the_terminal_interrupts_it() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (running, daemon) = speaking(&scene, &barrier, service(&scene).on_terminal());
    scene.terminal().typed("\x03");
    running.wait().assert_killed(libc::SIGINT);
    assert_eq!(assert_runs(&scene).pid(), daemon.pid());
}

#[test]
fn what_the_caller_ignores_does_not_interrupt_it() {
    let ignored = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let launch = service(&scene).ignoring(ignored);
    let (running, _) = speaking(&scene, &barrier, launch);
    for signal in ignored {
        running.signal(signal);
    }
    barrier.open();
    ready(&scene, &running.wait());
}

/// The starter sees readiness and the signal together, and readiness counts.
#[test]
fn a_signal_that_comes_with_readiness_is_not_lost() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let served = scene.path("served");
    let running = service(&scene)
        .args(barrier.at("init"))
        .arg(format!("main:note={}:here", served.display()))
        .arg("started:say")
        .spawn();
    barrier.await_hook();
    let daemon = named_daemon(&scene);
    let starter = running.process();
    starter.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || starter.is_suspended());
    starter.signal(libc::SIGINT);
    barrier.open();
    scene.wait_until("the main loop", || served.exists());
    starter.signal(libc::SIGCONT);
    let ended = running.wait();
    ended.assert_killed(libc::SIGINT);
    assert_said(&ended, "", "");
    assert_eq!(assert_runs(&scene).pid(), daemon.pid());
}

#[test]
fn without_its_starter_the_daemon_goes_on() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let (running, daemon) = speaking(&scene, &barrier, service(&scene));
    running.signal(libc::SIGKILL);
    running.wait().assert_killed(libc::SIGKILL);
    assert_eq!(assert_runs(&scene).pid(), daemon.pid());
    stop(&scene, &daemon);
}

#[test]
fn its_panic_is_told_and_the_status_is_that_of_a_good_start() {
    for (panic, text) in [
        ("panic=what a surprise", "what a surprise"),
        ("panic_when_dropped", "Box<dyn Any>"),
    ] {
        let scene = Scene::new();
        let started = service(&scene)
            .args(["started:print=ready"])
            .arg(format!("started:{panic}"))
            .run();
        let daemon = ready(&scene, &started);
        started.assert_says(&["tests/src/bin/announcing.rs:", text]);
        assert_eq!(started.stdout, "ready");
        stop(&scene, &daemon);
    }
}

#[test]
fn its_exit_leaves_the_pidfile() {
    let scene = Scene::new();
    let started = service(&scene)
        .args(["started:print=ready", "started:exit=7"])
        .run();
    started.assert_exited(7);
    assert_said(&started, "ready", "");
    let daemon = assert_runs(&scene);
    service(&scene).run().assert_exited(80);
    stop(&scene, &daemon);
}

#[test]
fn its_exit_after_a_restart_leaves_pidfile_and_socket() {
    let scene = Scene::new();
    let handing_over = || service(&scene).set("control_socket", "").arg("init:listen");
    let old = ready(&scene, &handing_over().run());
    let restart = handing_over().set("restart", "10000");
    restart.arg("started:exit=7").run().assert_exited(7);
    let new = assert_runs(&scene);
    assert_ne!(new.pid(), old.pid());
    assert!(scene.path("service.pid.control").exists());
    stop(&scene, &new);
}

#[test]
fn it_runs_in_a_process_like_any_other() {
    let scene = Scene::new();
    let barrier = Barrier::new(&scene);
    let launch = service(&scene).arg("started:sh=exit 3");
    let (running, _) = speaking(&scene, &barrier, launch);
    let process = running.process();
    assert!(process.blocked().is_empty());
    let caught = process.caught();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGCHLD] {
        assert!(!caught.contains(&signal), "{caught:?}");
    }
    barrier.open();
    let started = running.wait();
    ready(&scene, &started);
    assert_said(&started, "exit status: 3\n", "");
}

/// As what `configure` returns is dropped in the daemon alone.
#[test]
fn what_it_owns_is_dropped_in_the_starter_alone() {
    let scene = Scene::new();
    let drops = scene.path("drops");
    let started = service(&scene).set("drops", &drops).run();
    let daemon = ready(&scene, &started);
    stop(&scene, &daemon);
    assert_eq!(
        fs::read_to_string(drops).expect("a value that was dropped"),
        format!("{}\n", started.pid)
    );
}

/// Where standard output can lead without anyone reading it, and what a `println!` then says.
const UNREAD: [(&str, &str); 3] = [
    ("nowhere", ""),
    ("a full disk", "No space left"),
    ("a pipe", "Broken pipe"),
];

/// A start that has such a standard output when it comes to its last word.
fn run_unread(scene: &Scene, launch: Launch<'_>, stdout: &str) -> Started {
    let pipe = scene.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe)
        .expect("a FIFO");
    let stdout = match stdout {
        "nowhere" => Stdio::Closed,
        "a full disk" => Stdio::File("/dev/full".into()),
        _ => Stdio::File(pipe),
    };
    let barrier = Barrier::new(scene);
    let running = launch.args(barrier.at("init")).stdout(stdout).spawn();
    barrier.await_hook();
    drop(reader);
    barrier.open();
    running.wait()
}

#[test]
fn a_message_that_cannot_be_written_is_no_failure() {
    for (stdout, _) in UNREAD {
        let scene = Scene::new();
        let started = run_unread(&scene, service(&scene).arg("message"), stdout);
        let daemon = ready(&scene, &started);
        assert_said(&started, "", "");
        stop(&scene, &daemon);
    }
}

#[test]
fn a_function_that_cannot_print_panics() {
    for (stdout, says) in UNREAD {
        let scene = Scene::new();
        let started = run_unread(&scene, service(&scene).arg("started:say"), stdout);
        let daemon = ready(&scene, &started);
        started.assert_says(&[says]);
        stop(&scene, &daemon);
    }
}
