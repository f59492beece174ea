//! What the test suites of other libraries expect of a daemon, of this one. Each test is named after
//! theirs. What has no test here has a row in `docs/coming-from.md` that says why.
//!
//! | module | holds |
//! | --- | --- |
//! | `daemonize` | daemonize 0.5.0: `daemonize-tests`, and the example of its documentation |
//! | `errors` | its errors, each with the status that it has here |
//! | `fork` | fork 0.11.0: the tests of `daemon()`, `checked_daemon()`, and of what they are made of |

mod daemonize;
mod errors;
mod fork;

use daemon_harness::{Launch, Proc, Scene};

/// The daemon of a good start, whose main loop has come to its end, where it waits: it has done
/// what it was told to do.
#[track_caller]
fn at_work(scene: &Scene, launch: Launch<'_>) -> Proc {
    let done = scene.path("done");
    let launch = launch.set("main:write", &done).arg("main:shutdown");
    launch.run().assert_ready();
    scene.wait_until("the end of its work", || done.exists());
    scene.daemon()
}
