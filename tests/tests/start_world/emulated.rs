//! qemu-user runs a program of another processor, as binfmt_misc has it do. It shows itself in the
//! place of the program, and has a thread. That of this processor is the same.

use std::env::consts::ARCH;

use daemon_harness::{Launch, Scene, bin, require};
use daemon_tests::svc::in_foreground;

fn emulator() -> String {
    format!("qemu-{ARCH}")
}

fn emulated(scene: &Scene) -> Launch<'_> {
    let program = format!("/usr/bin/{}", emulator());
    let launch = scene.launch(program).arg(bin("svc"));
    launch.set("pidfile", scene.pidfile())
}

#[test]
fn a_fork_is_refused_in_the_name_of_the_emulator() {
    require!(tool(&emulator()));
    let scene = Scene::new();
    let runs = format!("{}, which runs this program", emulator());
    let done = emulated(&scene).run();
    done.assert_exited(85)
        .assert_says(&["2 threads run", &runs, "stay in the foreground"]);
    scene.assert_no_leftovers();
}

#[test]
fn a_change_of_the_user_is_too() {
    require!(root(), tool(&emulator()));
    let scene = Scene::new();
    let runs = format!("{}, which runs this program", emulator());
    let launch = emulated(&scene).set("user", "nobody");
    let done = launch.env("DAEMON_MODE", "foreground").run();
    done.assert_exited(93)
        .assert_says(&["2 threads run", &runs, "start it as that user"]);
    scene.assert_no_leftovers();
}

#[test]
fn in_the_foreground_a_service_runs_and_ends() {
    require!(tool(&emulator()));
    let scene = Scene::new();
    let launch = emulated(&scene).arg("init:expect_shutdown");
    let running = in_foreground(&scene, launch, "shutdown");
    running.signal(libc::SIGTERM);
    running.wait().assert_exited(0);
    scene.assert_no_leftovers();
}
