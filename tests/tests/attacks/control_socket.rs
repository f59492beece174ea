//! The control socket: what lies at its paths, and a service that answers nobody.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use daemon_harness::{Scene, require};
use daemon_tests::ctl::Ctl;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The paths at which the service makes and removes sockets.
fn paths(scene: &Scene) -> [PathBuf; 2] {
    ["service.pid.control", "service.pid.control.new"].map(|name| scene.path(name))
}

fn answering(scene: &Scene) -> Ctl<'_> {
    Ctl::new(scene).with("listen", scene.path("address"))
}

/// A start, a restart with the sockets handed over, and a stop, after this was put at both paths.
fn goes_well_over(put: impl Fn(&Path)) {
    let scene = Scene::new();
    let ctl = answering(&scene);
    for path in paths(&scene) {
        put(&path);
    }
    ctl.start();
    let made = fs::symlink_metadata(ctl.socket()).expect("the socket");
    assert!(made.file_type().is_socket());
    assert_eq!((made.mode() & 0o777, made.nlink()), (0o600, 1));
    ctl.run("restart").assert_ready();
    scene.wait_until("one instance", || scene.processes().len() == 1);
    assert!(
        fs::symlink_metadata(ctl.socket())
            .expect("the socket")
            .file_type()
            .is_socket()
    );
    ctl.succeeds("stop");
    scene.assert_no_leftovers();
    for path in paths(&scene) {
        assert!(
            fs::symlink_metadata(&path).is_err(),
            "{} is left",
            path.display()
        );
    }
}

#[test]
fn e21_links_are_removed_and_not_followed() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let target = elsewhere.path().join("target");
    fs::write(&target, "precious").expect("a file");
    fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).expect("chmod");
    let before = fs::metadata(&target).expect("a file");
    let new = elsewhere.path().join("new");
    goes_well_over(|path| symlink(&target, path).expect("a link"));
    goes_well_over(|path| symlink(&new, path).expect("a link"));
    goes_well_over(|path| fs::hard_link(&target, path).expect("a link"));
    let after = fs::metadata(&target).expect("a file");
    assert_eq!(fs::read_to_string(&target).expect("a file"), "precious");
    assert_eq!(
        (after.mode(), after.ino(), after.nlink()),
        (before.mode(), before.ino(), 1)
    );
    assert!(!new.exists());
}

#[test]
fn e21_a_fifo_or_a_file_is_replaced_without_a_hang() {
    goes_well_over(|path| mkfifo(path, Mode::S_IRWXU).expect("a FIFO"));
    goes_well_over(|path| fs::write(path, "stale").expect("a file"));
}

#[test]
fn e21_a_directory_is_a_failed_start_and_stays() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let [control, new] = paths(&scene);
    fs::create_dir(&control).expect("a directory");
    ctl.run("start")
        .assert_exited(92)
        .assert_says(&["service.pid.control", "directory"]);
    scene.assert_no_leftovers();
    assert!(control.is_dir() && !scene.pidfile().exists());
    fs::remove_dir(&control).expect("it is empty");
    let old = ctl.start();
    fs::create_dir(&new).expect("a directory");
    ctl.run("restart")
        .assert_exited(92)
        .assert_says(&["service.pid.control.new", "directory"]);
    assert_eq!(scene.daemon().pid(), old.pid(), "the old one goes on");
    assert!(new.is_dir());
    ctl.succeeds("stop");
}

/// As many callers as can wait to be accepted by a service that accepts nobody.
fn fill(path: &Path) -> Vec<std::os::fd::OwnedFd> {
    let address = UnixAddr::new(path).expect("an address");
    let connected = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).expect("a socket");
        connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)
            .ok()
            .map(|()| socket)
    };
    std::iter::from_fn(connected).collect()
}

/// A service that is suspended, or is an attacker's by now.
fn deaf(ctl: &Ctl<'_>, scene: &Scene) {
    let daemon = ctl.start();
    daemon.signal(libc::SIGSTOP);
    scene.wait_until("the stop", || daemon.is_suspended());
}

#[test]
fn a_service_that_accepts_nobody_keeps_no_reload_waiting_for_longer_than_it_may() {
    let scene = Scene::new();
    let ctl = answering(&scene).with("reloads", "");
    deaf(&ctl, &scene);
    let assert_ends = || {
        for limit in ["300ms", "0s"] {
            let reload = ctl.command(&format!("reload --timeout {limit}")).run();
            reload
                .assert_exited(1)
                .assert_says(&["service.pid", "it has not answered in time"]);
        }
    };
    // With room for those who wait, and without.
    assert_ends();
    let _callers = fill(&ctl.socket());
    assert_ends();
    ctl.succeeds("stop");
}

/// It is stopped first, as any other that cannot hand over.
#[test]
fn a_service_that_accepts_nobody_keeps_no_restart_waiting_for_ever() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    deaf(&ctl, &scene);
    let _callers = fill(&ctl.socket());
    ctl.command("restart").run().assert_ready();
    assert_eq!(scene.pid_in_pidfile(), Some(scene.daemon().pid()));
    ctl.succeeds("stop");
    scene.assert_no_leftovers();
}

fn lock_for_readers(pidfile: &fs::File, start: libc::off_t, length: libc::off_t) {
    let lock = libc::flock {
        l_type: libc::F_RDLCK.try_into().expect("a small number"),
        l_whence: libc::SEEK_SET.try_into().expect("a small number"),
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    fcntl(pidfile, FcntlArg::F_OFD_SETLK(&lock)).expect("a lock for readers");
}

/// The restart lock is one on the pidfile, and the service, which may be an attacker's by now, has
/// that open for reading. So it can lock it against all who write.
#[test]
fn a_service_that_locks_its_pidfile_keeps_no_restart_waiting_for_ever() {
    let scene = Scene::new();
    let ctl = answering(&scene);
    let old = ctl.start();
    let pidfile = fs::File::open(scene.pidfile()).expect("the pidfile");
    lock_for_readers(&pidfile, 0, 0);
    let restart = ctl.command("restart").run();
    restart
        .assert_exited(1)
        .assert_says(&["service.pid", "restart", "locked"]);
    assert_eq!(scene.daemon().pid(), old.pid(), "the old one goes on");
    ctl.succeeds("stop");
    drop(pidfile);
    ctl.start();
    ctl.run("restart").assert_ready();
}

/// It can lock the bytes by which older instances are known, one by one, and a kernel takes the longer
/// to tell of one the more there are.
#[test]
fn a_service_with_thousands_of_locks_keeps_no_command_busy_for_ever() {
    /// The bytes of older instances, which follow those of processes.
    const OLD: libc::off_t = (1 << 24) + (1 << 22) + 1;
    require!(tool("strace"));
    let scene = Scene::new();
    let ctl = answering(&scene);
    ctl.start();
    let pidfile = fs::File::open(scene.pidfile()).expect("the pidfile");
    for byte in (0..4_000).rev() {
        lock_for_readers(&pidfile, OLD + 2 * byte, 1);
    }
    let stop = ctl.command("stop").strace("calls", &["-e", "trace=fcntl"]);
    stop.run().assert_exited(0);
    let calls = fs::read_to_string(scene.path("calls")).expect("its calls");
    let looks = calls.matches("F_OFD_GETLK").count();
    assert!(looks < 3000, "{looks}");
}
