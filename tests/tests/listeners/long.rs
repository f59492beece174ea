//! C8: paths of any length.

use std::path::{Path, PathBuf};

use daemon_harness::Scene;
use daemon_tests::svc::free_address;

use crate::{Listening, ask};

/// A path of exactly this many bytes, with all directories on the way.
fn path_of_length(scene: &Scene, length: usize) -> PathBuf {
    const NAME: &str = "service.pid";
    let mut directory = scene.pidfile().parent().expect("a directory").to_owned();
    while directory.as_os_str().len() + 1 + NAME.len() < length {
        let room = length - directory.as_os_str().len() - 2 - NAME.len();
        // A name has at most 255 bytes, and nothing must be left for which there is no name.
        let name = if room <= 200 {
            room
        } else {
            (room - 2).min(200)
        };
        directory.push("d".repeat(name.max(1)));
    }
    std::fs::create_dir_all(&directory).expect("directories");
    let path = directory.join(NAME);
    assert_eq!(path.as_os_str().len(), length, "{}", path.display());
    path
}

fn control(pidfile: &Path, ending: &str) -> PathBuf {
    let mut path = pidfile.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// A Unix socket's address holds 107 bytes. Beyond 4,095 a path is none.
#[test]
fn c8_start_restart_and_stop_with_a_pidfile_of_any_length() {
    for length in [
        92, 95, 96, 99, 100, 107, 108, 255, 1023, 1024, 4000, 4084, 4095,
    ] {
        let scene = Scene::new();
        let web = free_address();
        let pidfile = path_of_length(&scene, length);
        let service = Listening::new(&scene)
            .at(&pidfile)
            .with(format!("web=tcp:{web}"));
        let mut before = service.start();
        for _ in 0..2 {
            assert_eq!(service.restart(), "", "{length} bytes");
            let owner = service.owner();
            assert!(before.is_gone() && owner.pid() != before.pid());
            assert_eq!(
                ask(&web).expect("an answer").1,
                owner.pid(),
                "the socket was handed over"
            );
            before = owner;
        }
        service.run("status").assert_exited(0);
        service.run("stop").assert_exited(0);
        scene.assert_no_leftovers();
        let directory =
            std::fs::read_dir(pidfile.parent().expect("a directory")).expect("a directory");
        assert_eq!(directory.count(), 0, "{length} bytes");
        assert!(before.is_gone());
    }
}

#[test]
fn c8_a_name_that_is_too_long_is_said() {
    let scene = Scene::new();
    let name = "n".repeat(120);
    let service = Listening::new(&scene)
        .at(scene.path(&name))
        .with(format!("web=tcp:{}", free_address()));
    service
        .run("start")
        .assert_exited(92)
        .assert_says(&[&name, "the name of the control socket is too long"]);
    assert!(!control(&scene.path(&name), ".control").exists() && !scene.path(&name).exists());
    scene.assert_no_leftovers();
}

#[test]
fn c8_without_proc_a_path_that_is_too_long_is_said() {
    daemon_harness::require!(root());
    let scene = Scene::new();
    let pidfile = path_of_length(&scene, 120);
    let service = Listening::new(&scene)
        .at(&pidfile)
        .with(format!("web=tcp:{}", free_address()));
    let started = service.command("start").without_proc().run();
    started
        .assert_exited(92)
        .assert_says(&["without /proc the path of the control socket must be shorter"]);
    scene.assert_no_leftovers();
    // A short one will do.
    let service = Listening::new(&scene).with(format!("web=tcp:{}", free_address()));
    service.command("start").without_proc().run().assert_ready();
}
