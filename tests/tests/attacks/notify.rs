//! E42: a hostile `NOTIFY_SOCKET`. Whatever it names, the start goes on; nothing is made, opened or
//! written there but the messages of the protocol, and these hold nothing of the caller's.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, IoSliceMut, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use daemon_harness::{Launch, PATIENCE, Scene, bin};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind,
    listen, recvmsg, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The error of a manager that was waited for, and did not read.
const WAITED: &str = "Resource temporarily unavailable";

fn service(scene: &Scene, address: impl AsRef<OsStr>) -> Launch<'_> {
    scene
        .launch(bin("svc"))
        .hostile()
        .set("pidfile", scene.pidfile())
        .env("NOTIFY_SOCKET", address)
}

/// In the foreground, as the variable has it, and detached. Neither waits for a manager.
fn assert_starts(scene: &Scene, address: impl AsRef<OsStr>, said: &[&str]) {
    let foreground = service(scene, &address).arg("main:exit=9").run();
    foreground.assert_exited(9);
    let detached = service(scene, &address).set("mode", "detach").run();
    detached.assert_ready();
    scene.stop(&scene.daemon());
    for started in [foreground, detached] {
        started.assert_says(said);
        assert!(!started.stderr.contains(WAITED), "{started:?}");
    }
}

/// Names, kinds, sizes and times of all that is there.
fn seen(directory: &Path) -> Vec<(PathBuf, u32, u64, i64, i64)> {
    let look = |path: PathBuf| {
        let found = fs::symlink_metadata(&path).expect("a file");
        (
            path,
            found.mode(),
            found.size(),
            found.mtime_nsec(),
            found.ctime_nsec(),
        )
    };
    let mut all: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| look(entry.unwrap().path()))
        .collect();
    all.sort();
    all
}

#[test]
fn e42_what_is_no_socket_of_the_kind_is_left_alone() {
    let scene = Scene::new();
    let place = scene.dir("place", 0o777, None);
    let path = |name: &str| place.join(name);
    mkfifo(&path("fifo"), Mode::S_IRWXU).expect("a FIFO");
    mkfifo(&path("read"), Mode::S_IRWXU).expect("a FIFO");
    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path("read"))
        .expect("a FIFO");
    fs::write(path("file"), "precious").expect("a file");
    fs::create_dir(path("directory")).expect("a directory");
    symlink(path("file"), path("to-file")).expect("a link");
    symlink(path("new"), path("dangling")).expect("a link");
    symlink(path("loop"), path("loop")).expect("a link");
    let stream = UnixListener::bind(path("stream")).expect("a socket");
    stream.set_nonblocking(true).expect("fcntl");
    let packets = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_NONBLOCK,
        None,
    )
    .expect("a socket");
    bind(
        packets.as_raw_fd(),
        &UnixAddr::new(&path("packets")).expect("an address"),
    )
    .expect("a socket");
    listen(&packets, Backlog::new(1).expect("a number")).expect("a listener");

    let before = seen(&place);
    let names = [
        "fifo",
        "read",
        "file",
        "directory",
        "to-file",
        "dangling",
        "loop",
        "stream",
        "packets",
        "missing",
        "file/below",
    ];
    for name in names {
        let said = ["cannot notify the manager: NOTIFY_SOCKET", name];
        assert_starts(&scene, path(name), &said);
    }
    assert_eq!(seen(&place), before);
    assert_eq!(
        reader.read(&mut [0; 8]).ok(),
        Some(0),
        "nobody has opened it"
    );
    assert_eq!(
        stream.accept().expect_err("nobody has called").kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn e42_addresses_at_the_limits_of_their_length() {
    let scene = Scene::new();
    let before = seen(&scene.path(""));
    // Of the 108 bytes of an address a path may take 107 or all, an abstract name, with its NUL,
    // all.
    for length in [106, 107, 108, 109, 255, 4096, 100_000] {
        for first in ["/", "@"] {
            let address = format!("{first}{}", "x".repeat(length - 1));
            let said = ["cannot notify the manager: NOTIFY_SOCKET"];
            assert_starts(&scene, address, &said);
        }
    }
    assert_eq!(
        seen(&scene.path("")).len(),
        before.len() + 1,
        "the hostile place"
    );
}

/// One message, and what the descriptors lead to that came with it. They are never closed: such a
/// manager is hostile.
fn receive(manager: &UnixDatagram) -> (String, Vec<PathBuf>) {
    let mut text = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!([RawFd; 16]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<()>(
        manager.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    );
    let message = message.expect("a message in time");
    let passed = message
        .cmsgs()
        .expect("no more than fit")
        .flat_map(|control| match control {
            ControlMessageOwned::ScmRights(passed) => passed,
            _ => Vec::new(),
        });
    let target = |fd: RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).expect("a descriptor");
    let (targets, length) = (passed.map(target).collect(), message.bytes);
    text.truncate(length);
    (String::from_utf8(text).expect("UTF-8"), targets)
}

/// It hears what is meant for a manager, is given one end of a pipe, and keeps nobody from being
/// ready.
#[test]
fn e42_a_manager_that_keeps_what_it_is_given_learns_nothing_of_the_caller() {
    const KNOWN: [&str; 8] = [
        "READY",
        "STATUS",
        "EXTEND_TIMEOUT_USEC",
        "MAINPID",
        "STOPPING",
        "ERRNO",
        "EXIT_STATUS",
        "BARRIER",
    ];
    let scene = Scene::new();
    let path = scene.path("manager");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let over = AtomicBool::new(false);
    let heard = thread::scope(|scope| {
        let hearing = scope.spawn(|| {
            let mut heard = Vec::new();
            while !over.load(Ordering::Relaxed) {
                heard.push(receive(&manager));
            }
            heard
        });
        let end = || {
            over.store(true, Ordering::Relaxed);
            UnixDatagram::unbound()
                .expect("a socket")
                .send_to(b"", &path)
                .expect("the last message");
        };
        let started = catch_unwind(AssertUnwindSafe(|| {
            let launch = || {
                service(&scene, &path)
                    .set("mode", "detach")
                    .arg("init:status=half way")
            };
            launch().run().assert_ready();
            scene.stop(&scene.daemon());
            launch().arg("init:err=no").run().assert_exited(1);
        }));
        end();
        let heard = hearing.join().expect("messages");
        started.unwrap_or_else(|panic| resume_unwind(panic));
        heard
    });
    let (texts, passed): (Vec<_>, Vec<_>) = heard.into_iter().unzip();
    let text = texts.join("\n");
    for line in text.lines().filter(|line| !line.is_empty()) {
        assert!(
            line.split_once('=')
                .is_some_and(|(name, _)| KNOWN.contains(&name)),
            "{line:?}"
        );
    }
    assert!(
        text.contains("READY=1") && text.contains("EXIT_STATUS=1"),
        "{text}"
    );
    assert!(
        !["hunter", "FILLER", "svc:"]
            .iter()
            .any(|secret| text.contains(secret)),
        "{text}"
    );
    let passed: Vec<_> = passed.into_iter().flatten().collect();
    let is_pipe = |target: &PathBuf| {
        target
            .to_str()
            .is_some_and(|target| target.starts_with("pipe:["))
    };
    assert!(
        !passed.is_empty() && passed.iter().all(is_pipe),
        "{passed:?}"
    );
}

#[test]
fn e42_a_manager_that_reads_nothing_only_delays() {
    let scenes = [Scene::new(), Scene::new()];
    let path = scenes[0].path("manager");
    let _manager = UnixDatagram::bind(&path).expect("a socket");
    let other = UnixDatagram::unbound().expect("a socket");
    other.set_nonblocking(true).expect("fcntl");
    while other.send_to(b"in the way", &path).is_ok() {}
    let foreground = service(&scenes[0], &path).arg("main:exit=9").spawn();
    let detached = service(&scenes[1], &path).set("mode", "detach").run();
    let said = ["cannot notify the manager: NOTIFY_SOCKET", WAITED];
    detached.assert_ready().assert_says(&said);
    foreground.wait().assert_exited(9).assert_says(&said);
}
