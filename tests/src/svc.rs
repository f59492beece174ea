//! What the tests of several subjects do with the fixture service.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Proc, Running, Scene, bin};

/// The fixture service, with the scene's pidfile.
pub fn service(scene: &Scene) -> Launch<'_> {
    scene.launch(bin("svc")).set("pidfile", scene.pidfile())
}

/// The daemon after a good start: it lives, and its pidfile names it.
#[track_caller]
pub fn ready_daemon(scene: &Scene, launch: Launch<'_>) -> Proc {
    let daemon = started(launch, scene);
    assert_eq!(scene.pid_in_pidfile(), Some(daemon.pid()));
    daemon
}

/// The daemon after a good start; the service need not have a pidfile.
#[track_caller]
pub fn started(launch: Launch<'_>, scene: &Scene) -> Proc {
    launch.run().assert_ready();
    scene.daemon()
}

/// Fails unless the start fails with this status, says this and leaves nothing.
#[track_caller]
pub fn refused(launch: Launch<'_>, scene: &Scene, status: i32, words: &[&str]) {
    launch.run().assert_exited(status).assert_says(words);
    scene.assert_no_leftovers();
}

/// The status of a start in which this hook has returned an error.
pub fn status_of(hook: &str) -> i32 {
    if hook == "configure" { 78 } else { 1 }
}

/// A FIFO at which a hook waits (`HOOK:cat=…`) until what [`at_barrier`] returns is dropped.
pub fn barrier(scene: &Scene, name: &str) -> PathBuf {
    let path = scene.path(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    path
}

/// Waits until a hook is waiting at the barrier; dropping what this returns lets it go on.
pub fn at_barrier(scene: &Scene, barrier: &Path) -> File {
    let open = || {
        OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(barrier)
    };
    let mut opened = None;
    scene.wait_until("a hook at the barrier", || {
        opened = open().ok(); // Without a reader, opening it for writing fails.
        opened.is_some()
    });
    opened.expect("a FIFO")
}

/// A start that waits in `init` until the second value is dropped, and does then what these
/// arguments say.
pub fn start_in_init<'s>(scene: &'s Scene, then: &[&str]) -> (Running<'s>, File) {
    let fifo = barrier(scene, "warm_up");
    let wait = format!("init:cat={}", fifo.display());
    let running = service(scene).arg(wait).args(then).spawn();
    let inside = at_barrier(scene, &fifo);
    (running, inside)
}

/// The daemon of a start that may still be under way: the pidfile names it before `init` runs.
#[track_caller]
pub fn named_daemon(scene: &Scene) -> Proc {
    scene
        .pid_in_pidfile()
        .and_then(Proc::new)
        .expect("a pidfile that names a process")
}

/// The service in the foreground, when it has come to its main loop, which then does this.
pub fn in_foreground<'s>(scene: &'s Scene, launch: Launch<'s>, main: &str) -> Running<'s> {
    let launch = launch
        .arg("main:eprintln=in the main loop")
        .arg(format!("main:{main}"));
    let running = launch.env("DAEMON_MODE", "foreground").spawn();
    scene.wait_until("the main loop", || {
        running.stderr().contains("in the main loop")
    });
    assert_eq!(scene.pid_in_pidfile(), Some(running.pid()));
    running
}

/// An address of this machine that is free now, and that no other test takes before it is used: it
/// is on a part of the loopback network that only this process has.
pub fn free_address() -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    let free = TcpListener::bind((Ipv4Addr::new(127, high, low, 1), 0));
    let free = free.expect("a port");
    free.local_addr().expect("bound").to_string()
}
