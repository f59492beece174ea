//! E10–E12: which descriptors are closed, and which are not.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use daemon_harness::{Launch, PROMPT, Proc, Scene, Stdio, bin, require};
use daemon_tests::svc::{at_barrier, barrier, named_daemon, ready_daemon, service};
use nix::sys::resource::Resource;

/// Started with each of these standard streams closed.
fn closing_streams(launch: Launch<'_>, closed: [bool; 3]) -> Launch<'_> {
    let [stdin, stdout, stderr] =
        closed.map(|closed| if closed { Stdio::Closed } else { Stdio::Null });
    launch.stdin(stdin).stdout(stdout).stderr(stderr)
}

/// Every choice of the three streams.
fn choices() -> impl Iterator<Item = [bool; 3]> {
    (0..8).map(|choice| [0, 1, 2].map(|stream| choice >> stream & 1 == 1))
}

/// Fails unless the standard streams are `/dev/null` and nothing inherited is open beyond them.
/// What the harness opens for its launches leads to `/dev/null` too; what a daemon has of its own
/// does not.
fn assert_clean(daemon: &Proc) {
    let found = daemon.descriptors();
    let to_null = |number: i32| {
        found
            .get(&number)
            .is_some_and(|found| found.target == Path::new("/dev/null"))
    };
    assert!((0..3).all(to_null), "{found:#?}");
    assert!(
        found.len() < 12 && !found.keys().any(|&number| number > 2 && to_null(number)),
        "{found:#?}"
    );
}

#[test]
fn e10_any_standard_streams_closed() {
    for closed in choices() {
        let scene = Scene::new();
        let daemon = ready_daemon(&scene, closing_streams(service(&scene), closed));
        assert_clean(&daemon);
        assert!(
            daemon.descriptor_of(scene.pidfile()).unwrap().0 > 2,
            "{closed:?}"
        );
        scene.stop(&daemon);
        scene.assert_no_leftovers();
    }
}

#[test]
fn e10_logs_go_where_they_should_although_streams_are_closed() {
    for closed in choices() {
        let scene = Scene::new();
        let launch = service(&scene)
            .set("stdout", scene.path("out"))
            .set("stderr", scene.path("err"));
        let daemon = ready_daemon(&scene, closing_streams(launch, closed));
        let found = daemon.descriptors();
        let targets = [0, 1, 2].map(|stream| found[&stream].target.clone());
        assert_eq!(
            targets,
            ["/dev/null".into(), scene.path("out"), scene.path("err")]
        );
    }
}

#[test]
fn e10_what_configure_opens_never_becomes_a_stream() {
    let scene = Scene::new();
    let file = scene.file("config", "");
    let launch = service(&scene).arg(format!("configure:open={}", file.display()));
    let daemon = ready_daemon(&scene, closing_streams(launch, [true; 3]));
    assert_clean(&daemon);
    assert!(daemon.descriptor_of(&file).unwrap().0 > 2);
}

#[test]
fn e10_a_failed_start_has_its_status_although_nobody_can_read_why() {
    let scene = Scene::new();
    let start = |action: &str| closing_streams(service(&scene).arg(action), [true; 3]).run();
    start("init:err=no").assert_exited(1);
    start("configure:err=no").assert_exited(78);
    scene.assert_no_leftovers();
    start("init:status=fine").assert_ready();
    start("init:status=fine").assert_exited(80);
}

/// Thousands of descriptors, up to the highest number that the limit of these machines allows.
fn crowded(launch: Launch<'_>) -> Launch<'_> {
    launch.descriptors(
        (3..40)
            .chain([63, 255, 256, 1023, 1024])
            .chain(5000..9000)
            .chain([19_999]),
    )
}

/// Starts the service among thousands of descriptors, in surroundings that make closing them hard.
fn closes_thousands(surroundings: impl Fn(Launch<'_>) -> Launch<'_>) {
    let scene = Scene::new();
    let started = surroundings(crowded(service(&scene))).run();
    started.assert_ready();
    let daemon = scene.daemon();
    assert_clean(&daemon);
    // One by one up to the highest number that there can be would take minutes.
    assert!(started.elapsed < 4 * PROMPT, "{started:?}");
    scene.stop(&daemon);
    scene.assert_no_leftovers();
}

#[test]
fn e11_thousands_of_descriptors() {
    closes_thousands(|launch| launch);
}

#[test]
fn e11_thousands_of_descriptors_above_a_limit_that_was_lowered() {
    closes_thousands(|launch| launch.rlimit(Resource::RLIMIT_NOFILE, 64, 64));
}

#[test]
fn e11_thousands_of_descriptors_without_close_range() {
    require!(root());
    for errno in [libc::ENOSYS, libc::EPERM] {
        closes_thousands(|launch| launch.denying(libc::SYS_close_range, errno));
    }
}

#[test]
fn e11_thousands_of_descriptors_without_proc() {
    require!(root());
    closes_thousands(|launch| {
        launch
            .without_proc()
            .rlimit(Resource::RLIMIT_NOFILE, 64, 1024)
    });
}

#[test]
fn e11_thousands_of_descriptors_without_close_range_and_proc() {
    require!(root());
    for errno in [libc::ENOSYS, libc::EPERM] {
        closes_thousands(|launch| launch.denying(libc::SYS_close_range, errno).without_proc());
    }
}

#[test]
fn e11_thousands_above_a_lowered_limit_without_close_range_and_proc() {
    require!(root());
    closes_thousands(|launch| {
        let launch = launch
            .denying(libc::SYS_close_range, libc::ENOSYS)
            .without_proc();
        launch.rlimit(Resource::RLIMIT_NOFILE, 64, 64)
    });
}

#[test]
fn e11_init_finds_no_more_than_what_is_the_daemons() {
    let scene = Scene::new();
    let barrier = barrier(&scene, "barrier");
    let _running = crowded(service(&scene))
        .arg(format!("init:cat={}", barrier.display()))
        .spawn();
    let _waiting = at_barrier(&scene, &barrier);
    assert_clean(&named_daemon(&scene));
}

#[test]
fn e11_the_same_few_calls_however_many_are_open() {
    require!(tool("strace"));
    let calls = |surroundings: fn(Launch<'_>) -> Launch<'_>| {
        let scene = Scene::new();
        let traced = [
            "-e",
            "trace=close,close_range,poll,fcntl,fstat,newfstatat,getdents64",
        ];
        surroundings(service(&scene))
            .strace("calls", &traced)
            .run()
            .assert_ready();
        scene.stop(&scene.daemon());
        scene.wait_until("the end of strace", || !scene.tree().contains("strace"));
        std::fs::read_to_string(scene.path("calls"))
            .unwrap()
            .lines()
            .count()
    };
    let (few, many) = (calls(|launch| launch), calls(crowded));
    assert!(many <= few + 10, "{few} calls became {many}");
}

/// The service as a manager that activates sockets starts it: `LISTEN_PID` is the process itself.
/// The descriptors 3 and 4 are passed to it, as FIFOs, among many that are not, and it takes them.
fn activated(scene: &Scene) -> Launch<'_> {
    let [first, second] = ["first", "second"].map(|name| barrier(scene, name));
    let script = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=first:second exec \"$0\" \"$@\"";
    let launch = crowded(scene.launch("/bin/sh").args(["-c", script]).arg(bin("svc")));
    let launch = launch
        .descriptor(3, first)
        .descriptor(4, second)
        .set("pidfile", scene.pidfile());
    launch.arg("init:take=/dev/null:fifo,fifo")
}

fn assert_keeps_activated(scene: &Scene) {
    let daemon = scene.daemon();
    assert_clean(&daemon);
    let found = daemon.descriptors();
    assert_eq!(
        [&found[&3].target, &found[&4].target],
        [&scene.path("first"), &scene.path("second")]
    );
    assert_ne!(
        Some(daemon.pid()),
        Proc::new(daemon.stat().session).map(|leader| leader.pid())
    );
}

#[test]
fn e12_activated_sockets_survive_and_nothing_else() {
    let scene = Scene::new();
    activated(&scene)
        .env("DAEMON_MODE", "detach")
        .run()
        .assert_ready();
    assert_keeps_activated(&scene);
}

#[test]
fn e12_the_same_without_close_range_and_proc() {
    require!(root());
    let scene = Scene::new();
    let launch = activated(&scene).env("DAEMON_MODE", "detach");
    launch
        .denying(libc::SYS_close_range, libc::ENOSYS)
        .without_proc()
        .run()
        .assert_ready();
    assert_keeps_activated(&scene);
}

#[test]
fn e12_the_same_where_configure_decides_to_detach() {
    let scene = Scene::new();
    let config = scene.file("config", "");
    activated(&scene)
        .set("mode", "detach")
        .arg(format!("configure:open={}", config.display()))
        .run()
        .assert_ready();
    assert_keeps_activated(&scene);
    assert!(scene.daemon().descriptor_of(&config).is_some());
}

#[test]
fn e12_activated_sockets_of_another_process_do_not_survive() {
    let scene = Scene::new();
    let launch = crowded(service(&scene))
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "2");
    assert_clean(&ready_daemon(&scene, launch));
}

/// A FIFO of which a manager reads that the service is ready, and both its ends.
fn readiness(scene: &Scene) -> File {
    let path = barrier(scene, "readiness");
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .unwrap()
}

/// All that was written to it so far.
fn told(mut readiness: &File) -> String {
    let mut text = [0; 64];
    let length = readiness.read(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[test]
fn e12_the_readiness_descriptor_survives_until_readiness() {
    let scene = Scene::new();
    let read = readiness(&scene);
    let start = |action: &str| {
        let launch = crowded(service(&scene))
            .descriptor(300, scene.path("readiness"))
            .arg(action);
        launch
            .env("DAEMON_NOTIFY_FD", "300")
            .env("DAEMON_MODE", "detach")
            .run()
    };
    start("init:err=no").assert_exited(1);
    assert_eq!(told(&read), "");
    start("init:status=fine").assert_ready();
    assert_eq!(told(&read), "\n");
    // A manager that waits for the end of file gets it.
    let daemon = scene.daemon();
    assert_clean(&daemon);
    assert!(
        !daemon
            .descriptors()
            .values()
            .any(|found| found.target == scene.path("readiness"))
    );
}

#[test]
fn e12_an_argument_may_name_a_descriptor_until_configure_has_returned() {
    for (directory, number) in [("/dev/fd", 63), ("/proc/self/fd", 11), ("/dev/fd", 3)] {
        let scene = Scene::new();
        let config = scene.file("config", "the configuration");
        let launch = crowded(service(&scene)).descriptor(number, &config);
        let started = launch
            .arg(format!("configure:cat={directory}/{number}"))
            .run();
        started.assert_ready();
        assert_eq!(started.stdout, "the configuration");
        assert_clean(&scene.daemon());
        assert!(scene.daemon().descriptor_of(&config).is_none());
    }
}

#[test]
fn e12_a_named_descriptor_is_closed_after_configure() {
    let scene = Scene::new();
    let launch = service(&scene).descriptor(63, scene.file("config", ""));
    launch
        .arg("init:cat=/dev/fd/63")
        .run()
        .assert_exited(1)
        .assert_says(&["No such file"]);
    scene.assert_no_leftovers();
}

#[test]
fn e12_process_substitution_of_a_shell() {
    require!(tool("bash"));
    let scene = Scene::new();
    let script = "exec \"$0\" pidfile=\"$1\" configure:cat=<(echo from another command)";
    let launch = scene
        .launch("/bin/bash")
        .args(["-c", script])
        .arg(bin("svc"))
        .arg(scene.pidfile());
    let started = launch.run();
    assert_eq!(started.assert_ready().stdout, "from another command\n");
    scene.wait_until("the end of the other command", || {
        scene.processes().len() == 1
    });
    assert_clean(&scene.daemon());
}

#[test]
fn e12_a_named_descriptor_that_belongs_to_a_protocol_stays_with_it() {
    let scene = Scene::new();
    let read = readiness(&scene);
    let launch = service(&scene)
        .descriptor(5, scene.path("readiness"))
        .arg("main:status=/dev/fd/5");
    launch
        .arg("main:shutdown")
        .env("DAEMON_NOTIFY_FD", "5")
        .env("DAEMON_MODE", "detach")
        .run()
        .assert_ready();
    assert_eq!(told(&read), "\n");
    let scene = Scene::new();
    activated(&scene)
        .env("DAEMON_MODE", "detach")
        .arg("init:status=/dev/fd/4")
        .run()
        .assert_ready();
    assert_keeps_activated(&scene);
}

#[test]
fn e12_arguments_that_name_no_descriptor_change_nothing() {
    let scene = Scene::new();
    let words = [
        "/dev/fd/",
        "/dev/fd/64",
        "/dev/fd/-1",
        "/dev/fd/1",
        "/dev/fd/99999999999",
        "/dev/fd/6x",
        "/dev/fd/2",
    ];
    let launch = words.iter().fold(service(&scene), |launch, word| {
        launch.arg(format!("configure:status={word}"))
    });
    assert_clean(&ready_daemon(&scene, crowded(launch)));
}
