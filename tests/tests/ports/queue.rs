//! `port_queue`: who decides whether it detaches, its tasks, its end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use daemon_harness::{Launch, Proc, Running, Scene, bin, errno_text};
use daemon_tests::svc::{named_daemon, refused};

/// The queue, with this line in its configuration file, in whose directory the caller stands.
fn queue<'s>(scene: &'s Scene, line: &str) -> Launch<'s> {
    scene.file("port_queue.conf", format!("directory = .\n{line}"));
    let launch = scene.launch(bin("port_queue"));
    launch.current_dir(scene.path(""))
}

/// The statuses of these tasks.
fn statuses(scene: &Scene, tasks: &[&str]) -> Vec<String> {
    let mut queue = UnixStream::connect(scene.path("socket")).expect("a queue that listens");
    queue
        .write_all(format!("{}\n", tasks.join("\n")).as_bytes())
        .unwrap();
    let answers = BufReader::new(queue).lines().take(tasks.len());
    answers.map(|answer| answer.expect("an answer")).collect()
}

/// The service of a start that stays in the foreground, when it is ready.
fn in_foreground<'s>(scene: &'s Scene, launch: Launch<'s>) -> (Running<'s>, Proc) {
    let running = launch.spawn();
    scene.wait_until("a queue that listens", || {
        UnixStream::connect(scene.path("socket")).is_ok()
    });
    let service = named_daemon(scene);
    assert_eq!(service.pid(), running.pid());
    (running, service)
}

#[test]
fn flags_go_before_the_configuration_and_the_foreground_is_the_default() {
    let cases: [(&[&str], &str, bool); 7] = [
        (&[], "", false),
        (&[], "daemonize = false", false),
        (&[], "daemonize = true", true),
        (&["-d"], "", true),
        (&["--daemonize"], "daemonize = false", true),
        (&["-f"], "", false),
        (&["--foreground"], "daemonize = true", false),
    ];
    for (arguments, line, detaches) in cases {
        // The program has decided, so nothing in its surroundings does.
        for (name, value) in [
            ("PATH", "/bin"),
            ("DAEMON_MODE", "foreground"),
            ("DAEMON_MODE", "detach"),
        ] {
            let scene = Scene::new();
            let launch = queue(&scene, line).args(arguments).env(name, value);
            if detaches {
                let starter = launch.run();
                starter.assert_ready();
                // At once: it is ready.
                assert_eq!(statuses(&scene, &["true"]), ["exit status: 0"]);
                let daemon = scene.daemon();
                assert_ne!(daemon.pid(), starter.pid);
                assert_eq!(daemon.descriptors()[&0].target, Path::new("/dev/null"));
                assert_eq!(daemon.cwd(), Path::new("/"));
                assert!(scene.stop(&daemon).success());
            } else {
                let (running, service) = in_foreground(&scene, launch);
                assert_eq!(statuses(&scene, &["true"]), ["exit status: 0"]);
                service.signal(libc::SIGINT);
                running.wait().assert_exited(0);
            }
            assert!(!scene.pidfile().exists());
            scene.assert_no_leftovers();
        }
    }
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let cases: [(&[&str], &str, i32, &str); 5] = [
        (&["-d", "-f"], "", 2, "cannot be used with"),
        (
            &["-d"],
            "daemonize = perhaps",
            78,
            "provided string was not `true` or `false`",
        ),
        (&[], "colour = blue", 78, "what is \"colour = blue\"?"),
        (&["-c", "/no/such/file"], "", 78, "/no/such/file"),
        (
            &["-d", "-c", "/no/such/file"],
            "",
            78,
            &errno_text(libc::ENOENT),
        ),
    ];
    for (arguments, line, status, words) in cases {
        let scene = Scene::new();
        let launch = queue(&scene, line).args(arguments);
        refused(launch, &scene, status, &[words]);
        assert!(!scene.path("socket").exists());
    }
}

#[test]
fn a_task_has_its_status_and_nothing_of_the_queue() {
    for arguments in [&["-d"][..], &["-f"]] {
        let scene = Scene::new();
        let (list, launch) = (scene.path("list"), queue(&scene, "").args(arguments));
        let _running = if arguments == ["-d"] {
            launch.run().assert_ready();
            None
        } else {
            Some(in_foreground(&scene, launch).0)
        };
        let see = format!("cd /proc/self/fd; echo * > {}", list.display());
        let tasks = [&*see, "exit 7", "kill -9 $$", "kill -PIPE $$"];
        assert_eq!(
            statuses(&scene, &tasks)[1..],
            [
                "exit status: 7",
                "signal: 9 (SIGKILL)",
                "signal: 13 (SIGPIPE)"
            ]
        );
        // The last is the directory's, if the shell has it open meanwhile.
        let open = fs::read_to_string(list).unwrap();
        assert!(["0 1 2\n", "0 1 2 3\n"].contains(&&*open), "{open}");
    }
}

#[test]
fn tasks_of_many_clients_have_their_own_statuses() {
    let scene = Scene::new();
    queue(&scene, "daemonize = true").run().assert_ready();
    std::thread::scope(|scope| {
        for status in 0..20 {
            let scene = &scene;
            scope.spawn(move || {
                let task = format!("exit {status}");
                let expected = format!("exit status: {status}");
                assert_eq!(statuses(scene, &[&task, &task]), [&*expected, &expected]);
            });
        }
    });
    let log = fs::read_to_string(scene.path("log")).unwrap();
    assert_eq!(log.lines().count(), 40);
}

#[test]
fn there_is_one_in_either_mode() {
    let scene = Scene::new();
    queue(&scene, "daemonize = true").run().assert_ready();
    let daemon = scene.daemon();
    for flag in ["-d", "-f"] {
        let second = queue(&scene, "").arg(flag).run();
        second.assert_exited(80).assert_says(&["already running"]);
    }
    assert_eq!(statuses(&scene, &["true"]), ["exit status: 0"]);
    assert_eq!(scene.daemon().pid(), daemon.pid());
}
