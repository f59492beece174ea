//! The service below shells: those that have the names of supervisors stand for them.

use std::fs;

use daemon_harness::{Launch, Scene, bin};

/// Starts the service from a shell that runs this script, in which `SVC` stands for the service.
pub(crate) fn from_shell<'s>(scene: &'s Scene, shell: &str, script: &str) -> Launch<'s> {
    let mark = scene.path("up");
    let service = format!(
        "{} init:expect_shutdown main:note={}:up main:shutdown",
        bin("svc").display(),
        mark.display()
    );
    scene
        .launch(shell)
        .arg("-c")
        .arg(script.replace("SVC", &service))
}

/// Starts the service as the child of a shell with this name.
pub(crate) fn below<'s>(scene: &'s Scene, name: &str) -> Launch<'s> {
    fs::copy("/bin/dash", scene.path(name)).expect("dash");
    let shell = scene.path(name);
    from_shell(scene, shell.to_str().expect("UTF-8"), "SVC; exit $?")
}

/// What was launched goes on, and so does the service in its session.
#[track_caller]
pub(crate) fn assert_stays(scene: &Scene, launch: Launch<'_>) {
    let running = launch.spawn();
    scene.wait_until("the service", || scene.path("up").exists());
    let service = scene
        .processes()
        .into_iter()
        .find(|process| process.name().as_deref() == Some("svc"));
    let service = service.expect("the service");
    assert_eq!(
        service.stat().session,
        running.process().stat().session,
        "detached:\n{}",
        scene.tree()
    );
    service.signal(libc::SIGTERM);
    assert!(running.wait().status.success());
    fs::remove_file(scene.path("up")).expect("the mark");
}

/// What was launched is over when the service is ready, and the service is in a session of its own.
#[track_caller]
pub(crate) fn assert_detaches(scene: &Scene, launch: Launch<'_>) {
    let started = launch.run();
    started.assert_ready();
    scene.wait_until("the service", || scene.path("up").exists());
    let service = scene.daemon();
    assert_ne!(service.pid(), started.pid);
    assert_ne!(service.stat().session, service.pid());
    assert!(scene.stop(&service).success());
    fs::remove_file(scene.path("up")).expect("the mark");
}
