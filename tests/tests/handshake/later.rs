//! Rule 8: what goes wrong after readiness is said in the log that stderr leads to, or else in the
//! system's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use daemon_harness::{Launch, PROMPT, Proc, Scene, bin, require};

use crate::{Barrier, half_started, ready, service};

/// How the main loop may end, the status that it ends with, and what is said of it.
const ENDS: [(&str, i32, &str); 4] = [
    ("err=the reason", 1, "the reason"),
    ("chain=outer|inner", 1, "inner"),
    ("panic=what a surprise", 101, "what a surprise"),
    ("panic_any", 101, "panicked at tests/src/bin/svc.rs:"),
];

/// A daemon that is ready, and whose main loop then ends like this.
fn ended(scene: &Scene, launch: Launch<'_>, end: &str) -> (Proc, i32) {
    let barrier = Barrier::new(scene);
    // Whoever the daemon has become may go on.
    fs::set_permissions(&barrier.fifo, fs::Permissions::from_mode(0o644)).expect("chmod");
    let main = [
        format!("main:cat={}", barrier.fifo.display()),
        format!("main:{end}"),
    ];
    let started = launch.args(main).run();
    assert_eq!(
        (
            started.assert_ready().stderr.as_str(),
            started.stdout.as_str()
        ),
        ("", "")
    );
    let daemon = scene.daemon();
    barrier.open();
    let status = scene.exit_status(&daemon).code().expect("an exit");
    scene.assert_no_leftovers();
    (daemon, status)
}

#[test]
fn it_is_said_once_in_the_log_that_stderr_leads_to() {
    for (end, status, says) in ENDS {
        let scene = Scene::new();
        let log = scene.path("log");
        let (_, ended_with) = ended(&scene, service(&scene).set("stderr", &log), end);
        let said = fs::read_to_string(log).unwrap();
        assert_eq!(
            (ended_with, said.matches(says).count()),
            (status, 1),
            "{said}"
        );
    }
}

#[test]
fn a_panic_in_a_thread_is_said_too_and_ends_nothing() {
    let scene = Scene::new();
    let log = scene.path("log");
    let launch = service(&scene)
        .set("stderr", &log)
        .arg("main:panicking_thread")
        .arg("main:shutdown");
    let daemon = ready(&scene, &launch.run());
    scene.wait_until("the report", || {
        fs::read_to_string(&log).unwrap().contains("in a thread")
    });
    crate::stop(&scene, &daemon);
}

#[test]
fn an_exit_says_nothing() {
    let scene = Scene::new();
    let log = scene.path("log");
    let (_, status) = ended(&scene, service(&scene).set("stderr", &log), "exit=7");
    assert_eq!((status, fs::read_to_string(log).unwrap().as_str()), (7, ""));
}

#[test]
fn with_no_log_at_all_the_status_is_the_same() {
    for (end, status, _) in ENDS {
        let scene = Scene::new();
        assert_eq!(ended(&scene, service(&scene), end).1, status);
    }
}

#[test]
fn in_the_foreground_it_is_said_on_stderr() {
    for (end, status, says) in ENDS {
        let scene = Scene::new();
        let started = service(&scene)
            .env("DAEMON_MODE", "foreground")
            .arg(format!("main:{end}"))
            .run();
        started.assert_exited(status);
        assert_eq!(started.stderr.matches(says).count(), 1, "{started:?}");
    }
}

/// A system's log of the scene's own.
struct SystemLog {
    socket: UnixDatagram,
    dev: PathBuf,
}

impl SystemLog {
    fn new(scene: &Scene) -> Self {
        let dev = scene.dir("dev", 0o755, None);
        scene.file("dev/null", "");
        let socket = UnixDatagram::bind(dev.join("log")).expect("a socket");
        fs::set_permissions(dev.join("log"), fs::Permissions::from_mode(0o666)).expect("chmod");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, dev }
    }

    /// The service in a mount namespace whose `/dev` has nothing but this log and `/dev/null`.
    fn service<'s>(&self, scene: &'s Scene) -> Launch<'s> {
        let dev = self.dev.display();
        let script =
            format!("mount --bind /dev/null {dev}/null && mount --rbind {dev} /dev && exec \"$@\"");
        let unshare = scene
            .launch("/usr/bin/unshare")
            .args(["--mount", "/bin/sh", "-c", &script, "sh"]);
        unshare.arg(bin("svc")).set("pidfile", scene.pidfile())
    }

    /// The messages so far, as in `<27>Nov 24 00:00:00 svc[123]: text`. The line break that musl
    /// ends them with is cut off, as log daemons do.
    fn messages(&self) -> Vec<String> {
        let mut bytes = [0; 8192];
        std::iter::from_fn(|| {
            let length = self.socket.recv(&mut bytes).ok()?;
            Some(
                String::from_utf8_lossy(&bytes[..length])
                    .trim_end_matches('\n')
                    .to_owned(),
            )
        })
        .collect()
    }

    /// Fails unless exactly one message holds this, from this process and with the priority
    /// daemon.err.
    #[track_caller]
    fn assert_says_once(&self, daemon: &Proc, text: &str) {
        let messages = self.messages();
        let found: Vec<_> = messages
            .iter()
            .filter(|message| message.contains(text))
            .collect();
        assert_eq!(found.len(), 1, "{messages:#?}");
        assert!(found[0].starts_with("<27>"), "{messages:#?}");
        assert!(
            found[0].contains(&format!(" svc[{}]: ", daemon.pid())),
            "{messages:#?}"
        );
    }
}

#[test]
fn where_stderr_leads_nowhere_it_goes_to_the_systems_log() {
    require!(root());
    for (end, status, says) in ENDS {
        let scene = Scene::new();
        let log = SystemLog::new(&scene);
        let (daemon, ended_with) = ended(&scene, log.service(&scene), end);
        assert_eq!(ended_with, status);
        log.assert_says_once(&daemon, says);
    }
}

#[test]
fn the_systems_log_is_reached_as_another_user_and_from_inside_a_chroot() {
    require!(root());
    let inside = |scene: &Scene| {
        // The barrier, as it is seen from inside.
        let root = scene.dir("root", 0o755, None);
        (root.display().to_string(), "nobody".to_owned())
    };
    for chroot in [false, true] {
        for (end, _, says) in ENDS {
            let scene = Scene::new();
            let log = SystemLog::new(&scene);
            let (root, user) = inside(&scene);
            let launch = log.service(&scene).set("user", user);
            let launch = if chroot {
                launch.set("chroot", root)
            } else {
                launch
            };
            let started = launch
                .arg("main:sleep=100")
                .arg(format!("main:{end}"))
                .run();
            started.assert_ready();
            scene.wait_until("its end", || scene.processes().is_empty());
            let messages = log.messages();
            assert!(
                messages.iter().any(|message| message.contains(says)),
                "chroot {chroot}: {messages:#?}"
            );
        }
    }
}

#[test]
fn each_line_is_a_message_of_its_own() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    // `main` shows its error for programmers, with the line breaks as `\n`; a panic shows them as
    // they are.
    let (daemon, _) = ended(
        &scene,
        log.service(&scene),
        "panic=the first\nthe second\nthe third",
    );
    let messages = log.messages();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    assert!(
        messages
            .iter()
            .all(|message| message.contains(&format!("svc[{}]: ", daemon.pid()))),
        "{messages:#?}"
    );
    assert!(messages[2].ends_with(": the third"), "{messages:#?}");
}

#[test]
fn a_long_line_arrives_whole() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    let words = "a reason that is long, é, ".repeat(100);
    let (daemon, _) = ended(&scene, log.service(&scene), &format!("panic={words}"));
    let start = format!(" svc[{}]: ", daemon.pid());
    let texts = log
        .messages()
        .into_iter()
        .map(|message| message.split_once(&start).expect(&message).1.to_owned());
    let texts: Vec<_> = texts.collect();
    assert!(texts.concat().ends_with(&words), "{texts:#?}");
    assert!(
        !texts.concat().contains(char::REPLACEMENT_CHARACTER),
        "{texts:#?}"
    );
}

#[test]
fn a_nul_byte_is_seen_and_keeps_nothing_back() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    let (daemon, _) = ended(&scene, log.service(&scene), r"panic=before\0after");
    log.assert_says_once(&daemon, r"before\0after");
}

#[test]
fn a_panic_in_a_thread_goes_there_too() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    let barrier = Barrier::new(&scene);
    let launch = log
        .service(&scene)
        .arg("main:panicking_thread")
        .args(barrier.at("main"));
    launch.run().assert_ready();
    let daemon = scene.daemon();
    barrier.await_hook();
    crate::stop(&scene, &daemon);
    log.assert_says_once(&daemon, "in a thread");
}

#[test]
fn a_failed_start_whose_starter_is_gone_goes_there() {
    require!(root());
    for (action, says) in [
        ("err=the reason", "cannot initialize: the reason"),
        ("panic=the reason", "the reason"),
    ] {
        let scene = Scene::new();
        let log = SystemLog::new(&scene);
        let barrier = Barrier::new(&scene);
        let running = log
            .service(&scene)
            .args(barrier.at("init"))
            .arg(format!("init:{action}"))
            .spawn();
        barrier.await_hook();
        let daemon = half_started(&scene, &running);
        running.signal(libc::SIGKILL);
        running.wait().assert_killed(libc::SIGKILL);
        barrier.open();
        scene.exit_status(&daemon);
        log.assert_says_once(&daemon, says);
    }
}

#[test]
fn what_the_starter_says_does_not_go_there() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    let started = log.service(&scene).arg("init:err=the reason").run();
    started.assert_exited(1).assert_says(&["the reason"]);
    assert_eq!(log.messages(), Vec::<String>::new());
}

#[test]
fn nor_do_panics_of_hooks_which_the_starter_reports() {
    require!(root());
    let scene = Scene::new();
    let log = SystemLog::new(&scene);
    let started = log.service(&scene).arg("init:panic=the reason").run();
    started.assert_exited(101).assert_says(&["the reason"]);
    assert_eq!(log.messages(), Vec::<String>::new());
    assert!(started.elapsed < PROMPT);
}
