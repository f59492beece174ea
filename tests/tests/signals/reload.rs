//! A2, E7, E8, H6: a reload reaches everyone who listens, can fail, and leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use daemon_harness::{POLLS, Proc, Scene};
use daemon_rt::control::{Control, Reloaded};
use daemon_tests::ctl::Ctl;
use daemon_tests::svc::{at_barrier, barrier};

use crate::Service;

const PATIENCE: Duration = Duration::from_secs(15);

impl Service {
    /// With a control socket, and these listeners.
    fn controlled<'l>(listeners: impl IntoIterator<Item = &'l str>) -> Self {
        Self::new()
            .pidfile()
            .with(["control_socket=", "ends=1"])
            .with(listeners)
            .with(["init:shutdown"])
    }

    fn control(&self) -> Control {
        Control::new(self.scene.pidfile())
    }

    #[track_caller]
    fn start(&self) -> Proc {
        self.launch().run().assert_ready();
        self.scene.daemon()
    }

    /// How often this line was noted.
    fn count(&self, line: &str) -> usize {
        self.notes().iter().filter(|noted| *noted == line).count()
    }

    /// Ends it, so that it notes no more.
    #[track_caller]
    fn stop(&self, daemon: &Proc) {
        daemon.signal(libc::SIGTERM);
        let status = self.scene.exit_status(daemon);
        assert!(
            status.success() && self.count("drained") == 1,
            "{status} {:?}",
            self.notes()
        );
    }
}

/// Reloads three times in each way; each of `heard` is noted that often, and no more.
#[track_caller]
fn all_hear(listeners: &[&str], heard: &[&str]) {
    for over_socket in [true, false] {
        let service = Service::controlled(listeners.iter().copied());
        let daemon = service.start();
        for round in 1..=3 {
            if over_socket {
                assert_eq!(service.control().reload(PATIENCE).unwrap(), Reloaded::Done);
            } else {
                daemon.signal(libc::SIGHUP);
            }
            service.scene.wait_until(&format!("{listeners:?}"), || {
                heard.iter().all(|line| service.count(line) >= round)
            });
        }
        service.stop(&daemon);
        for line in heard {
            assert_eq!(
                service.count(line),
                3,
                "{listeners:?} socket {over_socket}: {:?}",
                service.notes()
            );
        }
    }
}

#[test]
fn a2_a_reload_reaches_everyone_in_either_way() {
    all_hear(&["init:reloads"], &["reloads SIGHUP"]);
    for listener in ["tokio", "iterator", "c", "c_info"] {
        let (mine, line) = (
            format!("init:{listener}=SIGHUP"),
            format!("{listener} SIGHUP"),
        );
        all_hear(&[&mine, "init:reloads"], &[&line, "reloads SIGHUP"]);
    }
    for listener in ["tokio", "iterator"] {
        let (mine, line) = (
            format!("init:{listener}=SIGHUP"),
            format!("{listener} SIGHUP"),
        );
        all_hear(&["init:reloads", &mine], &[&line, "reloads SIGHUP"]);
        all_hear(
            &["init:c=SIGHUP", "init:reloads", &mine],
            &["c SIGHUP", &line, "reloads SIGHUP"],
        );
    }
    all_hear(
        &["configure:c=SIGHUP", "init:reloads"],
        &["c SIGHUP", "reloads SIGHUP"],
    );
}

/// Once both have asked for it, several reloads at a time lose none: after the last, everyone has
/// heard.
#[test]
fn a2_many_reloads_at_once_lose_not_the_last() {
    let service = Service::controlled(["init:reloads", "init:c=SIGHUP", "init:tokio=SIGHUP"]);
    let daemon = service.start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(service.control().reload(PATIENCE).unwrap(), Reloaded::Done);
                    daemon.signal(libc::SIGHUP);
                }
            });
        }
    });
    // Requests are met: one that comes now is another.
    let before = service.count("reloads SIGHUP");
    assert_eq!(service.control().reload(PATIENCE).unwrap(), Reloaded::Done);
    assert!(service.count("reloads SIGHUP") > before && service.count("tokio SIGHUP") > 0);
    service.stop(&daemon);
}

#[test]
fn a2_where_another_has_replaced_the_handler_the_socket_still_works() {
    let service = Service::controlled(["init:reloads", "init:c=SIGHUP"]);
    let daemon = service.start();
    assert_eq!(service.control().reload(PATIENCE).unwrap(), Reloaded::Done);
    service.stop(&daemon);
    assert_eq!(
        (service.count("reloads SIGHUP"), service.count("c SIGHUP")),
        (1, 1)
    );
}

#[test]
fn a1_who_listens_to_sighup_without_the_library_is_told_by_the_signal() {
    for listener in ["tokio", "iterator", "c"] {
        let service = Service::controlled([format!("init:{listener}=SIGHUP").as_str()]);
        let daemon = service.start();
        assert_eq!(
            service.control().reload(PATIENCE).unwrap(),
            Reloaded::Requested
        );
        service.scene.wait_until("the signal", || {
            service.count(&format!("{listener} SIGHUP")) == 1
        });
        service.stop(&daemon);
    }
}

#[test]
fn h6_tasks_wait_by_next_or_by_a_stream() {
    for listener in ["next", "stream"] {
        all_hear(
            &[&format!("init:{listener}")],
            &[&format!("{listener} SIGHUP")],
        );
    }
}

/// The service, each of whose reloads does what the file tells it.
fn told(listener: &str, text: &str) -> (Service, PathBuf) {
    let service = Service::controlled([listener]);
    let told = service.scene.file("reload", text);
    let setting = format!("reload={}", told.display());
    (service.with([setting]), told)
}

#[track_caller]
fn fails(service: &Service, with: &[&str]) {
    let error = service
        .control()
        .reload(PATIENCE)
        .expect_err("a failure")
        .to_string();
    assert!(with.iter().all(|part| error.contains(part)), "{error:?}");
}

#[test]
fn e7_a_reload_that_fails_is_an_error_for_its_caller() {
    for listener in ["init:reloads", "init:next", "init:stream"] {
        let (service, file) = told(listener, "line 7:\nno such key");
        let log = service.scene.path("log");
        let service = service.with([format!("stderr={}", log.display())]);
        let daemon = service.start();
        fails(&service, &["it could not reload: line 7:\nno such key"]);
        fs::write(&file, "errno").unwrap();
        fails(&service, &[&daemon_harness::errno_text(libc::EMFILE)]);
        fs::write(&file, "").unwrap();
        assert_eq!(service.control().reload(PATIENCE).unwrap(), Reloaded::Done);
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("signals: cannot reload: line 7:\n"), "{log:?}");
        service.stop(&daemon);
    }
}

/// Root's terminal is not steered by what a service says, and no length is too much.
#[test]
fn e7_the_reason_can_be_any_text() {
    let (service, file) = told("init:reloads", "\x1b]0;a title\x07");
    let daemon = service.start();
    fails(&service, &[r"it could not reload: \u{1b}]0;a title\u{7}"]);
    fs::write(&file, "ä".repeat(1 << 20)).unwrap();
    fails(
        &service,
        &["it could not reload: ää", "ä… [cut at 4000 bytes]"],
    );
    service.stop(&daemon);
}

#[test]
fn e7_a_panic_while_reloading_is_a_failure() {
    for listener in ["init:reloads", "init:next"] {
        let (service, _) = told(listener, "panic over line 7");
        let daemon = service.start();
        fails(
            &service,
            &["it could not reload: panicked at", "panic over line 7"],
        );
        service.stop(&daemon);
    }
}

#[test]
fn e7_the_command_says_why_with_status_1() {
    let scene = Scene::new();
    let ctl = Ctl::new(&scene)
        .with("reloads", "")
        .with("broken", "no-such-key");
    ctl.start();
    let done = ctl.run("reload");
    done.assert_exited(1)
        .assert_says(&["it could not reload: no-such-key"]);
    assert_eq!(done.stdout, "");
}

/// Each caller gets what came of the reload that met its own request, and no other's.
#[test]
fn e7_callers_at_once_get_each_the_answer_of_their_own_reload() {
    for (first, second) in [("broken", ""), ("", "broken")] {
        let service = Service::controlled(["init:reloads"]);
        let gate = barrier(&service.scene, "gate");
        let setting = format!("reload={}", gate.display());
        let service = service.with([setting]);
        let daemon = service.start();
        let write = |mut open: File, text: &str| {
            std::io::Write::write_all(&mut open, text.as_bytes()).unwrap();
        };
        let results = thread::scope(|scope| {
            let ask = || {
                scope.spawn(|| {
                    service
                        .control()
                        .reload(PATIENCE)
                        .map_err(|error| error.to_string())
                })
            };
            let one = ask();
            let inside = at_barrier(&service.scene, &gate);
            let others = [ask(), ask()];
            service
                .scene
                .wait_until("both to ask", || waiting(&daemon) == 3);
            write(inside, first);
            let one = one.join().unwrap();
            write(at_barrier(&service.scene, &gate), second);
            [one]
                .into_iter()
                .chain(others.map(|other| other.join().unwrap()))
                .collect::<Vec<_>>()
        });
        let expected = [first, second, second].map(str::is_empty);
        assert_eq!(
            results.iter().map(Result::is_ok).collect::<Vec<_>>(),
            expected,
            "{results:?}"
        );
        assert_eq!(service.count("reloads SIGHUP"), 2);
        service.stop(&daemon);
    }
}

/// How many threads of the service wait, without limit, for a caller to be answered: they have
/// noted its request.
fn waiting(daemon: &Proc) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("the threads");
    let read =
        |task: &fs::DirEntry, name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
    let waits = |task: &fs::DirEntry| {
        // The number of the call and its arguments, of which the third is the time to wait, or
        // where that is.
        let call = read(task, "syscall");
        let words: Vec<&str> = call.split(' ').collect();
        let polls = POLLS.iter().any(|poll| words[0] == poll.to_string());
        let limit = words.get(3).copied().unwrap_or_default();
        polls && ["0xffffffff", "0xffffffffffffffff", "0x0"].contains(&limit)
    };
    tasks
        .flatten()
        .filter(|task| read(task, "comm") == "control\n" && waits(task))
        .count()
}

#[test]
fn e7_the_manager_is_told_why() {
    let (service, file) = told("init:reloads", "line 7:\nno such key");
    let address = service.scene.path("notify");
    let manager = UnixDatagram::bind(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut text = [0; 4096];
        let length = manager.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let running = service.launch().env("NOTIFY_SOCKET", &address).spawn();
    assert_eq!(next(), "READY=1");
    let reloading = |clear: bool| {
        let text = next();
        assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text:?}");
        assert_eq!(text.ends_with("\nSTATUS=\nERRNO=0"), clear, "{text:?}");
    };
    running.signal(libc::SIGHUP);
    reloading(false);
    assert_eq!(next(), "STATUS=cannot reload: line 7: no such key\nREADY=1");
    fs::write(&file, "errno").unwrap();
    running.signal(libc::SIGHUP);
    reloading(true);
    assert_eq!(
        next(),
        format!(
            "STATUS=cannot reload: {}\nERRNO=24\nREADY=1",
            io_text(libc::EMFILE)
        )
    );
    fs::write(&file, "").unwrap();
    running.signal(libc::SIGHUP);
    reloading(true);
    assert_eq!(next(), "READY=1");
    running.signal(libc::SIGHUP);
    reloading(false);
    assert_eq!(next(), "READY=1");
    running.signal(libc::SIGTERM);
    running.wait().assert_exited(0);
}

/// As Rust prints an error of the system.
fn io_text(errno: i32) -> String {
    std::io::Error::from_raw_os_error(errno).to_string()
}

#[test]
fn e8_callers_who_give_up_leave_neither_a_thread_nor_a_descriptor() {
    const MANY: usize = 200;
    let service = Service::controlled(["init:reloads"]);
    let gate = barrier(&service.scene, "gate");
    let setting = format!("reload={}", gate.display());
    let service = service.with([setting]);
    let daemon = service.start();
    // A reload is under way, and stays so.
    daemon.signal(libc::SIGHUP);
    let inside = at_barrier(&service.scene, &gate);
    service.scene.wait_until("the gate to be open", || {
        daemon.descriptor_of(&gate).is_some()
    });
    let state = || (daemon.status().threads, daemon.descriptors().len());
    let before = state();
    for _ in 0..MANY {
        let error = service
            .control()
            .reload(Duration::from_millis(5))
            .expect_err("nothing answers");
        assert!(
            error.to_string().contains("it has not answered in time"),
            "{error}"
        );
    }
    service
        .scene
        .wait_until("them to be forgotten", || state() == before);
    drop(inside);
    // What was asked for is done all the same, once for all of them.
    service
        .scene
        .wait_until("another reload", || service.count("reloads SIGHUP") == 2);
    drop(at_barrier(&service.scene, &gate));
    service
        .scene
        .wait_until("an idle service", || no_reader(&gate));
    thread::scope(|scope| {
        let asked = scope.spawn(|| service.control().reload(PATIENCE));
        drop(at_barrier(&service.scene, &gate));
        assert_eq!(asked.join().unwrap().unwrap(), Reloaded::Done);
    });
    assert_eq!(service.count("reloads SIGHUP"), 3);
    service.stop(&daemon);
}

fn no_reader(fifo: &Path) -> bool {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(fifo)
        .is_err()
}
