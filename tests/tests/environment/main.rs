//! Step 4, and settings given at run time.

mod fuzz;
mod settings;
mod variables;

use daemon_harness::{Launch, Proc, Scene, bin};

/// The service.
fn service(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("svc"))
}

/// The daemon, after its start has succeeded.
#[track_caller]
fn started(launch: Launch<'_>, scene: &Scene) -> Proc {
    launch.run().assert_ready();
    scene.daemon()
}

/// It must fail with this status, say this and leave nothing.
#[track_caller]
fn refused(launch: Launch<'_>, scene: &Scene, status: i32, words: &[&str]) {
    launch.run().assert_exited(status).assert_says(words);
    scene.assert_no_leftovers();
}
