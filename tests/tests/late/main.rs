//! Starts from anywhere in a program that has run for a while, all in safe code: what it owns is left
//! alone, what it inherited is closed, and what it must not do is refused.

use std::fs;
use std::path::Path;

use daemon_harness::{Launch, Proc, Scene, bin};
use daemon_tests::svc::started;

/// The functions from which the program can start its service.
const PLACES: [&str; 6] = [
    "function", "module", "nested", "method", "library", "builder",
];

/// The numbers of the descriptors that the program inherits. Those that it opens itself come to lie
/// between them.
const INHERITED: [i32; 5] = [4, 7, 63, 64, 700];

fn late(scene: &Scene) -> Launch<'_> {
    let launch = scene.launch(bin("late")).set("pidfile", scene.pidfile());
    let file = scene.file("inherited", "");
    INHERITED
        .into_iter()
        .fold(launch, |launch, number| launch.descriptor(number, &file))
}

/// Whether the process has a descriptor that leads to this file.
fn has(process: &Proc, path: &Path) -> bool {
    process.descriptor_of(path).is_some()
}

#[test]
fn what_the_program_owns_stays_and_what_it_inherited_goes() {
    for place in PLACES {
        let scene = Scene::new();
        let launch = late(&scene)
            .set("place", place)
            .set("before:own", scene.path(""))
            .arg("init:check")
            .arg("main:check");
        let daemon = started(launch, &scene);
        assert!(
            !has(&daemon, &scene.path("inherited")),
            "{place}: {:#?}",
            daemon.descriptors()
        );
        assert!(has(&daemon, &scene.path("owned")), "{place}");
        scene.stop(&daemon);
        if place != "library" {
            let written = fs::read_to_string(scene.path("owned")).unwrap();
            assert_eq!(written.lines().count(), 2, "{place}: {written}");
        }
        scene.assert_no_leftovers();
    }
}
