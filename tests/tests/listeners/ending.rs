//! E4, E5, E10: the end of the old instance, and what it knows of it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use daemon_harness::{Proc, Scene, require};
use daemon_tests::svc::free_address;

use crate::{Listening, ask, ask_at};

/// An instance that does not end, and goes on accepting.
struct Hanging<'s> {
    /// Where it answers.
    web: String,
    old: Proc,
    /// The service that is to take its place.
    new: Listening<'s>,
}

impl<'s> Hanging<'s> {
    fn start(scene: &'s Scene) -> Self {
        let web = free_address();
        let new = Listening::new(scene).with(format!("web=tcp:{web}"));
        let old = new.with("hang").start();
        Self { web, old, new }
    }
}

/// It hangs, and goes on accepting: whoever connects may get the one or the other.
#[test]
fn e4_one_that_does_not_end_is_killed_when_the_time_is_up() {
    let scene = Scene::new();
    let Hanging { web, old, new } = Hanging::start(&scene);
    let began = Instant::now();
    let restarted = new.run("restart --timeout 500ms");
    restarted.assert_ready().assert_says(&[
        "did not end in 500ms and was killed",
        &format!("pid {}", old.pid()),
    ]);
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert_eq!(scene.exit_status(&old).signal(), Some(libc::SIGKILL));
    assert_eq!(scene.daemon().pid(), new.owner().pid());
    for _ in 0..20 {
        assert_eq!(ask(&web).expect("an answer").1, new.owner().pid());
    }
    // What `stop` says is so, and the address is free.
    new.run("stop").assert_exited(0);
    assert!(ask(&web).is_err());
    scene.assert_no_leftovers();
    new.start();
}

/// As a manager's reload command, which has to end before the old one does, so that the manager
/// finds its new main process: the new instance sees to the end of the old one.
#[test]
fn e4_where_the_restarter_ends_first_the_new_one_kills_it() {
    let scene = Scene::new();
    let Hanging { web, old, new } = Hanging::start(&scene);
    let restart = new
        .command("restart --timeout 500ms")
        .env("MAINPID", old.pid().to_string());
    restart.run().assert_ready();
    assert_eq!(scene.exit_status(&old).signal(), Some(libc::SIGKILL));
    scene.wait_until("the new one alone", || scene.processes().len() == 1);
    assert_eq!(ask(&web).expect("an answer").1, new.owner().pid());
}

#[test]
fn e4_status_names_one_that_is_still_ending_and_stop_ends_it() {
    let scene = Scene::new();
    let Hanging { old, new, .. } = Hanging::start(&scene);
    let restart = new
        .command("restart --timeout 1h")
        .env("MAINPID", old.pid().to_string());
    restart.run().assert_ready();
    let line = format!("an older instance is still ending: pid {}", old.pid());
    scene.wait_until("the old one's word", || {
        new.run("status").stdout.contains(&line)
    });
    let json = format!("\"old\":[{}]", old.pid());
    assert!(new.run("status --json").stdout.contains(&json));
    new.run("stop --timeout 500ms").assert_exited(0);
    assert_eq!(scene.exit_status(&old).signal(), Some(libc::SIGKILL));
    scene.assert_no_leftovers();
}

/// The restarter is killed while it waits for the old one.
#[test]
fn e4_if_the_restarter_is_killed_the_new_one_kills_it() {
    let scene = Scene::new();
    let Hanging { web, old, new } = Hanging::start(&scene);
    let restart = new.command("restart --timeout 1s").spawn();
    scene.wait_until("the commit", || new.owner().pid() != old.pid());
    restart.signal(libc::SIGKILL);
    restart.wait();
    assert_eq!(scene.exit_status(&old).signal(), Some(libc::SIGKILL));
    assert_eq!(ask(&web).expect("an answer").1, new.owner().pid());
}

/// A person who does not want to wait for the old one's last requests.
#[test]
fn e4_the_wait_can_be_interrupted() {
    let scene = Scene::new();
    let Hanging { web, old, new } = Hanging::start(&scene);
    let restart = new.command("restart --timeout 1h").spawn();
    scene.wait_until("the commit", || new.owner().pid() != old.pid());
    // It may not wait yet, and then the whole restart is given up or completed.
    scene.wait_until("its end", || {
        _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(restart.pid()),
            nix::sys::signal::SIGINT,
        );
        !restart.is_running()
    });
    restart.wait();
    assert!(!old.is_gone());
    assert!(ask(&web).is_ok());
    // The next restart is not in its way.
    assert!(new.restart().is_empty());
    old.kill();
}

/// It cannot hand over: it is stopped first, like any other that cannot, and at once.
#[test]
fn e5_a_suspended_one_is_stopped_first() {
    let scene = Scene::new();
    let service = Listening::new(&scene).with(format!("web=tcp:{}", free_address()));
    let old = service.start();
    old.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || old.is_suspended());
    let began = Instant::now();
    assert_eq!(service.restart(), "");
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert!(scene.exit_status(&old).success(), "it has ended in order");
    assert_eq!(scene.daemon().pid(), service.owner().pid());
}

/// A debugger holds it: it neither answers nor ends.
#[test]
fn e5_a_hung_one_is_stopped_first() {
    require!(root());
    let scene = Scene::new();
    let service = Listening::new(&scene).with(format!("web=tcp:{}", free_address()));
    let old = service.start();
    let tracer = freeze(&old);
    let restart = service
        .command("restart --timeout 300ms")
        .limit(Duration::from_secs(40))
        .spawn();
    // Nobody answers for ten seconds; a frozen process dies when it is thawed, or of SIGKILL.
    restart.wait().assert_ready();
    tracer.join().expect("the tracer");
    assert_eq!(scene.exit_status(&old).signal(), Some(libc::SIGKILL));
    assert_eq!(scene.daemon().pid(), service.owner().pid());
}

/// Every thread of the process is stopped by ptrace(2), which only SIGKILL ends, until that comes.
fn freeze(process: &Proc) -> thread::JoinHandle<()> {
    use nix::sys::ptrace;
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid())).expect("its threads");
    let name = |entry: fs::DirEntry| {
        entry
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("a number")
    };
    let threads: Vec<i32> = tasks.map(|entry| name(entry.expect("a thread"))).collect();
    let (frozen, is_frozen) = std::sync::mpsc::channel();
    let tracer = thread::spawn(move || {
        let threads: Vec<_> = threads.into_iter().map(Pid::from_raw).collect();
        for &thread in &threads {
            ptrace::seize(thread, ptrace::Options::empty()).expect("a tracee");
            ptrace::interrupt(thread).expect("a tracee");
            waitpid(thread, Some(WaitPidFlag::__WALL)).expect("its stop");
        }
        frozen.send(()).expect("the test");
        // Signals other than SIGKILL stop it once more. The first thread, which ends last, comes
        // first.
        for &thread in threads.iter().rev() {
            while waitpid(thread, Some(WaitPidFlag::__WALL))
                .is_ok_and(|end| end.pid().is_none() || is_stop(&end))
            {}
        }
    });
    is_frozen.recv().expect("the tracer");
    tracer
}

fn is_stop(status: &nix::sys::wait::WaitStatus) -> bool {
    use nix::sys::wait::WaitStatus::{PtraceEvent, Stopped};
    matches!(status, Stopped(..) | PtraceEvent(..))
}

/// A service that listens at this path, and removes it at its end unless it was replaced.
fn tidying<'s>(scene: &'s Scene, path: &Path, ended: &Path) -> Listening<'s> {
    let words = format!(
        "web=unix:{0} removes={0} ended={1}",
        path.display(),
        ended.display()
    );
    Listening::new(scene).with(words)
}

/// The old one's path is the new one's, who could not be reached any more.
#[test]
fn e10_one_that_was_replaced_leaves_the_path_of_its_socket() {
    let scene = Scene::new();
    let (path, ended) = (scene.path("web.sock"), scene.path("ended"));
    let service = tidying(&scene, &path, &ended);
    service.start();
    for _ in 0..3 {
        _ = fs::remove_file(&ended);
        service.restart();
        assert_eq!(
            fs::read_to_string(&ended).expect("the old one has ended"),
            "true"
        );
        assert_eq!(ask_at(&path).expect("an answer").1, service.owner().pid());
    }
    service.run("stop").assert_exited(0);
    assert_eq!(fs::read_to_string(&ended).expect("it has ended"), "false");
    assert!(!path.exists());
}

/// The restart fails, or the instance has to be stopped first: nobody takes its socket.
#[test]
fn e10_one_that_was_not_replaced_knows_that() {
    let scene = Scene::new();
    let (path, ended) = (scene.path("web.sock"), scene.path("ended"));
    let service = tidying(&scene, &path, &ended);
    let old = service.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    service
        .with(format!("more=tcp:{}", taken.local_addr().expect("bound")))
        .run("restart")
        .assert_exited(1);
    assert_eq!(ask_at(&path).expect("an answer").1, old.pid());
    old.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || old.is_suspended());
    service.restart();
    assert_eq!(
        fs::read_to_string(&ended).expect("the old one has ended"),
        "false"
    );
    assert_eq!(ask_at(&path).expect("an answer").1, service.owner().pid());
}
