//! Step 4, and settings given at run time.

mod fuzz;
mod settings;
mod variables;

use daemon_harness::{Launch, Scene, bin};

/// The service.
fn service(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("svc"))
}
