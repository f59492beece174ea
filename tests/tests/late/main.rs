//! Starts from anywhere in a program that has run for a while, all in safe code: what it owns is left
//! alone, what it inherited is closed, and what it must not do is refused.
//!
//! | module | holds |
//! | --- | --- |
//! | `built` | programs that are built in several ways |
//! | `inherited` | which descriptors are closed, taken over or left |
//! | `refused` | threads, and a second start |
//! | `values` | buffers, children, signals, the environment |

mod built;
mod inherited;
mod refused;
mod values;

use std::path::Path;

use daemon_harness::{Launch, Proc, Scene, bin};

/// The numbers of the descriptors that the program inherits. Those that it opens itself come to lie
/// between them.
const INHERITED: [i32; 5] = [4, 7, 63, 64, 700];

/// The program that starts its service late.
fn late(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("late")).set("pidfile", scene.pidfile())
}

/// The same, with descriptors that lead to the scene's file `inherited`.
fn inheriting(scene: &Scene) -> Launch<'_> {
    let file = scene.file("inherited", "inherited\n");
    let mut launch = late(scene);
    for number in INHERITED {
        launch = launch.descriptor(number, &file);
    }
    launch
}

/// Tells whether the process has a descriptor that leads to this file.
fn has(process: &Proc, path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    process
        .descriptors()
        .values()
        .any(|found| found.target == path)
}
