//! `Pidfile`: a pidfile without a daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, id};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use daemon_harness::{Proc, Scene, SetOnDrop, Started, bin, require};
use daemon_rt::control::{Control, Status};
use daemon_rt::{Error, ErrorKind, Pidfile};
use daemon_tests::svc::{ready_daemon, service};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};

use crate::{content, naming};

fn this() -> i32 {
    id().cast_signed()
}

/// What another process is told.
fn status(scene: &Scene) -> Started {
    let pidfile = format!("pidfile={}", scene.pidfile().display());
    let command = scene.launch(bin("ctl")).env("CTL", pidfile);
    command.arg("status").run()
}

/// Whether util-linux's flock(1) gets the lock.
fn is_free(path: &Path) -> bool {
    let mut flock = Command::new("flock");
    let flock = flock.arg("--nonblock").arg(path).arg("true");
    flock.status().unwrap().success()
}

fn refused(path: &Path) -> Error {
    let error = Pidfile::lock(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRunning, "{error}");
    error
}

#[test]
fn it_is_the_same_file_and_the_same_truth_as_a_daemons() {
    let scene = Scene::new();
    let pidfile = Pidfile::lock(scene.pidfile()).unwrap();
    assert_eq!(pidfile.path(), scene.pidfile());
    assert_eq!(content(scene.pidfile()), naming(this()));
    let mode = fs::metadata(scene.pidfile()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!is_free(&scene.pidfile()));
    service(&scene)
        .run()
        .assert_exited(80)
        .assert_says(&[&this().to_string()]);
    let told = status(&scene);
    told.assert_exited(0);
    assert!(told.stdout.contains(&format!("pid {}", this())), "{told:?}");

    drop(pidfile);
    assert!(!scene.pidfile().exists());
    status(&scene).assert_exited(3);
    let daemon = ready_daemon(&scene, service(&scene));
    let error = refused(&scene.pidfile());
    assert!(error.to_string().contains(&daemon.pid().to_string()));
    scene.stop(&daemon);
    drop(Pidfile::lock(scene.pidfile()).unwrap());
}

#[test]
fn what_else_this_process_does_with_the_file_is_no_trouble() {
    let scene = Scene::new();
    let pidfile = Pidfile::lock(scene.pidfile()).unwrap();
    let control = Control::new(scene.pidfile());
    // To close a descriptor of the file drops this process's own locks on it.
    let own_locks = || {
        let this = Proc::new(this()).unwrap();
        let (_, descriptor) = this.descriptor_of(scene.pidfile()).unwrap();
        let is_own = |lock: &&String| lock.contains("POSIX");
        descriptor.locks.iter().filter(is_own).count()
    };
    let before = own_locks();
    assert!(before > 0);
    for _ in 0..3 {
        let text = refused(&scene.pidfile()).to_string();
        assert!(text.contains(&format!("pid {}", this())), "{text}");
        let found = control.status().unwrap();
        assert!(matches!(found, Status::Running { pid, .. } if pid == id()));
    }
    drop(Pidfile::lock(scene.path("other.pid")).unwrap());
    assert_eq!(own_locks(), before);
    drop(pidfile);
    assert!(matches!(control.status().unwrap(), Status::NotRunning));
}

#[test]
fn one_of_many_threads_gets_it_at_a_time() {
    let scene = Scene::new();
    let (gate, taken) = (Barrier::new(8), AtomicBool::new(false));
    let work = || {
        gate.wait();
        let mut times = 0;
        while times < 20 {
            let Ok(pidfile) = Pidfile::lock(scene.pidfile()) else {
                thread::yield_now();
                continue;
            };
            assert!(!taken.swap(true, Ordering::AcqRel), "two hold it");
            assert_eq!(content(scene.pidfile()), naming(this()));
            taken.store(false, Ordering::Release);
            drop(pidfile);
            times += 1;
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(work);
        }
    });
    assert!(!scene.pidfile().exists());
}

#[test]
fn the_umask_of_the_other_threads_stays() {
    let scene = Scene::new();
    let pidfile = scene.pidfile();
    let made = || {
        let path = scene.file("made", "");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::remove_file(path).unwrap();
        mode
    };
    let (before, done) = (made(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                drop(Pidfile::lock(&pidfile).unwrap());
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            assert_eq!(made(), before);
        }
    });
}

#[test]
fn a_child_neither_holds_nor_removes_it() {
    let scene = Scene::new();
    let mut pidfile = Some(Pidfile::lock(scene.pidfile()).unwrap());
    let mut left = Command::new("sleep").arg("100").spawn().unwrap();
    // What another thread is in the midst of at the fork never ends in the child.
    let over = AtomicBool::new(false);
    let lock_another = || {
        while !over.load(Ordering::Relaxed) {
            drop(Pidfile::lock(scene.path("another.pid")).unwrap());
        }
    };
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        scope.spawn(lock_another);
        for _ in 0..20 {
            // SAFETY: the child makes system calls only, and ends.
            #[allow(unsafe_code)]
            let ForkResult::Parent { child } = unsafe { fork() }.unwrap() else {
                alarm::set(60);
                drop(pidfile.take());
                // SAFETY: it has no argument that could be wrong.
                unsafe { libc::_exit(0) }
            };
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    });
    assert_eq!(content(scene.pidfile()), naming(this()));
    status(&scene).assert_exited(0);
    drop(pidfile);
    assert!(!scene.pidfile().exists());
    drop(Pidfile::lock(scene.pidfile()).unwrap());
    left.kill().unwrap();
    left.wait().unwrap();
}

#[test]
fn what_a_dead_process_has_left_is_in_no_ones_way() {
    let scene = Scene::new();
    std::mem::forget(ready_daemon(&scene, service(&scene)));
    let daemon = scene.daemon();
    daemon.kill();
    daemon.wait_gone(daemon_harness::PATIENCE);
    let pidfile = Pidfile::lock(scene.pidfile()).unwrap();
    assert_eq!(content(scene.pidfile()), naming(this()));
    // Another program's file in its place is not removed.
    fs::remove_file(scene.pidfile()).unwrap();
    scene.file("service.pid", "another");
    drop(pidfile);
    assert_eq!(content(scene.pidfile()), "another");
}

#[test]
fn what_cannot_be_locked_is_named() {
    require!(root());
    let scene = Scene::new();
    let error = Pidfile::lock(scene.path("missing/some.pid")).unwrap_err();
    assert_eq!(error.step_number(), Some(12));
    assert!(error.to_string().contains("missing/some.pid"), "{error}");
    scene.dir("open", 0o777, None);
    let error = Pidfile::lock(scene.path("open/some.pid")).unwrap_err();
    assert!(error.to_string().contains("open"), "{error}");
    assert!(!scene.path("open/some.pid").exists());
}
