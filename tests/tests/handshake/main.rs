//! The starter's word: edge cases E01 to E09, the exit statuses, and rules 1, 2, 8 and 10 of the
//! design.
//!
//! | module | holds |
//! | --- | --- |
//! | `moments` | E01, E03, E04: a process of the start dies at any of its system calls |
//! | `strike` | how they are made to die just then |
//! | `children` | E02, rule 2: what `init` has started ends with it, what the starter had is spared |
//! | `interrupted` | E04, rule 10: the starter is interrupted, killed, suspended |
//! | `timeout` | E05: `start_timeout` |
//! | `texts` | E06, E08: what is said on stderr, and how much of it; what was buffered is printed once |
//! | `statuses` | E07, E09: the exit statuses, one by one |
//! | `abort` | the same where a panic aborts |
//! | `progress` | `status()` on a terminal and on a pipe, and on those that nobody reads |
//! | `deferred` | `defer_ready` |
//! | `later` | rule 8: errors after readiness |
//! | `started` | the starter's last word |

mod abort;
mod children;
mod deferred;
mod interrupted;
mod later;
mod moments;
mod progress;
mod started;
mod statuses;
mod strike;
mod texts;
mod timeout;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use daemon_harness::{Launch, PROMPT, Proc, Running, Scene, Started, bin};
use nix::sys::stat::Mode;

/// The fixture service, with the scene's pidfile.
fn service(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("svc")).set("pidfile", scene.pidfile())
}

/// The daemon after a good start: it lives, alone, and its pidfile names it.
#[track_caller]
fn ready(scene: &Scene, started: &Started) -> Proc {
    started.assert_ready();
    let daemon = scene.daemon();
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    daemon
}

/// The start has failed with this status, promptly, and nothing is left of it.
#[track_caller]
fn failed(scene: &Scene, started: &Started, status: i32) {
    started.assert_exited(status);
    nothing_left(scene, started);
}

/// The start has ended promptly, and nothing is left of it: no process, not even a zombie, no lock,
/// no pidfile.
#[track_caller]
fn nothing_left(scene: &Scene, started: &Started) {
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists(), "a pidfile is left: {started:#?}");
    assert!(started.elapsed < PROMPT, "not prompt: {started:#?}");
}

/// The one line that a failed start says.
#[track_caller]
fn only_line(started: &Started) -> &str {
    let lines: Vec<_> = started.stderr.lines().collect();
    assert!(
        lines.len() == 1 && started.stderr.ends_with('\n'),
        "not one line: {started:#?}"
    );
    lines[0]
}

/// Asks the daemon to terminate: it does, whether or not its main loop has come to wait for that,
/// and tidies up.
#[track_caller]
fn stop(scene: &Scene, daemon: &Proc) {
    scene.stop(daemon);
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists());
}

/// The daemon of a start that is under way: what is in another session than its starter. On a busy
/// machine the intermediate process may take a while to end.
fn half_started(scene: &Scene, running: &Running<'_>) -> Proc {
    let session = running.process().stat().session;
    let mut daemons = Vec::new();
    scene.wait_until("the daemon alone", || {
        daemons = scene.processes();
        daemons.retain(|process| {
            process
                .stat_if_there()
                .is_some_and(|stat| stat.session != session)
                && process.name().as_deref() == Some("svc")
        });
        daemons.len() == 1
    });
    daemons.remove(0)
}

/// Where a hook waits until the test lets it pass.
struct Barrier<'s> {
    scene: &'s Scene,
    fifo: PathBuf,
    reached: PathBuf,
}

impl<'s> Barrier<'s> {
    fn new(scene: &'s Scene) -> Self {
        let (fifo, reached) = (scene.path("barrier"), scene.path("reached"));
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        Self {
            scene,
            fifo,
            reached,
        }
    }

    /// The actions by which this hook waits.
    fn at(&self, hook: &str) -> [String; 2] {
        [
            format!("{hook}:note={}:here", self.reached.display()),
            format!("{hook}:cat={}", self.fifo.display()),
        ]
    }

    /// Waits until the hook has come here.
    fn await_hook(&self) {
        self.scene
            .wait_until("the hook at the barrier", || self.reached.exists());
    }

    /// Lets it pass.
    fn open(&self) {
        let open = || {
            OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&self.fifo)
        };
        self.scene
            .wait_until("the hook at the barrier", || open().is_ok());
    }
}
