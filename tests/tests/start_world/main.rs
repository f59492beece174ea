//! Starts in the world: hooks that close and reuse descriptors, ignore signals and make namespaces;
//! errors that panic; a log that nobody reads; orphans by the thousand; modules of the C library
//! that start threads. Tests are named after the faults that they were written for.
//!
//! | module | holds |
//! | --- | --- |
//! | `deaths` | A4, B1, B3, B9, D4: who has died, and who is killed |
//! | `descriptors` | B2: descriptors that are not the library's any more |
//! | `texts` | B4, B5, B7, B8: what is said of a failure, and to whom |
//! | `accounts` | D7, D9: users and groups |
//! | `kernels` | kernels that lack system calls |
//! | `emulated` | qemu-user, an emulator of another processor |
//! | `random` | all kinds of hooks, by chance |
//! | `sizes` | numbers beyond 32 bits |

mod accounts;
mod deaths;
mod descriptors;
mod emulated;
mod kernels;
mod random;
mod sizes;
mod texts;

use std::path::PathBuf;
use std::time::Duration;

use daemon_harness::{Launch, Scene, Started, bin};

/// A start that hangs takes longer, however busy the machine is.
const PROMPT: Duration = daemon_harness::PROMPT.saturating_mul(2);

/// The service, with the scene's pidfile.
fn rough(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("rough")).set("pidfile", scene.pidfile())
}

/// The start has failed promptly with this status, says this, and leaves nothing.
#[track_caller]
fn failed(scene: &Scene, started: &Started, status: i32, says: &[&str]) {
    started.assert_exited(status).assert_says(says);
    scene.assert_no_leftovers();
    assert!(!scene.pidfile().exists(), "a pidfile is left: {started:#?}");
    assert!(started.elapsed < PROMPT, "not prompt: {started:#?}");
}

/// Where a hook waits (`HOOK:cat=…`) until something is written there.
fn fifo(scene: &Scene) -> PathBuf {
    let path = scene.path("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    path
}

/// Runs this script as root of a namespace of its own, with the path of the service as `$1`.
fn in_namespaces<'s>(scene: &'s Scene, namespaces: &[&str], script: &str) -> Launch<'s> {
    let unshare = scene.launch("/usr/bin/unshare").args(namespaces);
    unshare
        .args(["/bin/sh", "-c", script, "sh"])
        .arg(bin("rough"))
        .set("pidfile", scene.pidfile())
}
