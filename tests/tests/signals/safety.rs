//! A3: what handlers of signals do is safe wherever the signal comes, as signal-safety(7) has it.
//!
//! The witness is a library in C that is loaded before the service: it ends it if a handler takes
//! memory or changes errno, and gives handlers a small stack.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon_harness::{Launch, Scene, bin, require};

const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// The witness, loaded into what is started.
struct Witness<'s> {
    scene: &'s Scene,
    library: PathBuf,
}

impl<'s> Witness<'s> {
    fn new(scene: &'s Scene) -> Self {
        let source = scene.file("handlers.c", include_str!("handlers.c"));
        let library = scene.path("handlers.so");
        let built = Command::new("cc")
            .args(["-Wall", "-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .output();
        let built = built.expect("cc");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        Self { scene, library }
    }

    fn launch(&self, pidfile: &Path) -> Launch<'s> {
        let launch = self.scene.launch(bin("svc")).set("pidfile", pidfile);
        launch
            .env("LD_PRELOAD", &self.library)
            .env("HANDLERS_REPORT", self.report())
    }

    fn report(&self) -> PathBuf {
        self.scene.path("unsafe")
    }

    /// Nothing unsafe was seen, and no file of the service is left.
    #[track_caller]
    fn assert_clean(&self, pidfile: &Path, case: &str) {
        let report = fs::read_to_string(self.report()).unwrap_or_default();
        assert_eq!(report, "", "unsafe in a handler: {case}");
        let left: Vec<_> = fs::read_dir(pidfile.parent().unwrap())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(left.is_empty(), "left behind: {case}: {left:?}");
    }
}

/// A path of exactly this many bytes, whose directory is there and empty.
fn path_of_length(scene: &Scene, length: usize) -> PathBuf {
    let mut path = scene.path(format!("{length}"));
    fs::create_dir(&path).expect("a directory");
    let left = |path: &Path| length - path.as_os_str().len() - 1;
    // The name of the control socket is limited.
    while left(&path) > 60 {
        // Enough is left for another name.
        path.push("d".repeat(200.min(left(&path) - 2)));
        fs::create_dir(&path).expect("a directory");
    }
    let name = "p".repeat(left(&path));
    path.join(name)
}

#[test]
fn a3_no_handler_takes_memory_however_long_the_pidfiles_path_is() {
    require!(
        tool("cc"),
        that(
            cfg!(target_env = "gnu"),
            "needs glibc, into which a library can be loaded"
        )
    );
    let scene = Scene::new();
    let witness = Witness::new(&scene);
    for length in [92, 255, 1022, 1023, 1024, 1025, 2048, 4094, 4095] {
        let pidfile = path_of_length(&scene, length);
        assert_eq!(pidfile.as_os_str().len(), length);
        for signal in ENDING {
            for asks in [
                &["main:hang"][..],
                &["init:attend", "init:reloads", "main:shutdown"],
            ] {
                let case = format!("{length} bytes, signal {signal}, {asks:?}");
                witness.launch(&pidfile).args(asks).run().assert_ready();
                let daemon = scene.daemon();
                daemon.signal(signal);
                if signal == libc::SIGHUP && asks.len() > 1 {
                    daemon.signal(libc::SIGTERM);
                }
                let ended = scene.exit_status(&daemon);
                let asked = asks.len() > 1 && signal != libc::SIGQUIT;
                let expected = if asked {
                    (Some(0), None)
                } else {
                    (None, Some(signal))
                };
                assert_eq!((ended.code(), ended.signal()), expected, "{case}");
                witness.assert_clean(&pidfile, &case);
            }
        }
    }
}

#[test]
fn a3_nor_does_the_removal_of_the_control_socket() {
    require!(
        tool("cc"),
        that(
            cfg!(target_env = "gnu"),
            "needs glibc, into which a library can be loaded"
        )
    );
    let scene = Scene::new();
    let witness = Witness::new(&scene);
    for length in [60, 92, 100, 107, 1024, 4087, 4095] {
        let pidfile = path_of_length(&scene, length);
        for signal in ENDING {
            witness
                .launch(&pidfile)
                .args(["control_socket=", "main:hang"])
                .run()
                .assert_ready();
            let daemon = scene.daemon();
            daemon.signal(signal);
            assert_eq!(scene.exit_status(&daemon).signal(), Some(signal));
            witness.assert_clean(&pidfile, &format!("{length} bytes, signal {signal}"));
        }
    }
}

/// From the moment that the pidfile names the service on, at each of its system calls until it has
/// ended by itself.
#[test]
fn a3_an_ending_signal_at_any_moment_of_the_end_leaves_nothing() {
    require!(
        tool("cc"),
        tool("strace"),
        that(
            cfg!(target_env = "gnu"),
            "needs glibc, into which a library can be loaded"
        )
    );
    let scene = Scene::new();
    let witness = Witness::new(&scene);
    let pidfile = path_of_length(&scene, 1100);
    let launch = |log: &str, arguments: &[&str]| {
        let launch = witness
            .launch(&pidfile)
            .args(["main:exit=0"])
            .env("DAEMON_MODE", "foreground");
        launch.strace(log, arguments).run()
    };
    launch("calls", &[]).assert_exited(0);
    let calls = fs::read_to_string(scene.path("calls")).unwrap();
    let mut counts = HashMap::new();
    // Each call by its name, and the how manieth of that name it was.
    let calls: Vec<(&str, usize)> = calls
        .lines()
        .filter_map(|line| line.split_once('(')?.0.split_whitespace().last())
        .map(|name| {
            (
                name,
                *counts
                    .entry(name)
                    .and_modify(|count| *count += 1)
                    .or_insert(1),
            )
        })
        .collect();
    let end = calls
        .iter()
        .rposition(|&(name, _)| name == "exit_group")
        .expect("an end");
    let written = calls[..end]
        .iter()
        .rposition(|&(name, _)| name.starts_with("pwrite"))
        .expect("a pidfile");
    for (number, (name, nth)) in calls[written..end].iter().enumerate() {
        let signal = ENDING[number % ENDING.len()];
        let inject = format!("inject={name}:signal={signal}:when={nth}");
        let ended = launch("injected", &["-e", &inject]).status;
        assert!(
            ended.success() || ended.signal() == Some(signal),
            "{inject}: {ended}"
        );
        witness.assert_clean(&pidfile, &inject);
    }
}

/// The witness sees what it is to see.
#[test]
fn a3_a_handler_that_takes_memory_is_seen() {
    require!(
        tool("cc"),
        that(
            cfg!(target_env = "gnu"),
            "needs glibc, into which a library can be loaded"
        )
    );
    let scene = Scene::new();
    let witness = Witness::new(&scene);
    let signals = scene
        .launch(bin("signals"))
        .args(["init:c_unsafe=SIGTERM", "ends=1"]);
    let launch = signals
        .set("notes", scene.path("notes"))
        .env("LD_PRELOAD", &witness.library);
    launch
        .env("HANDLERS_REPORT", witness.report())
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    daemon.signal(libc::SIGTERM);
    assert_eq!(scene.exit_status(&daemon).code(), Some(99));
    assert_eq!(fs::read_to_string(witness.report()).unwrap(), "malloc\n");
}
