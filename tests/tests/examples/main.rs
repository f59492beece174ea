//! The examples, started for real: as root each in a machine of its own, where the defaults can be
//! seen at work, and as an ordinary user, who needs none.

mod agent;
mod chat;
#[cfg(not(target_env = "musl"))]
mod connections;
mod forwarder;
mod load;
mod timeserver;
// What has code in C is built for the usual C library only.
#[cfg(not(target_env = "musl"))]
mod tlsecho;
#[cfg(not(target_env = "musl"))]
mod worker;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use daemon_harness::managers::{Machine, Root, wait_until};
use daemon_harness::{Launch, Proc, Scene, errno_text, require};
use daemon_tests::built::example;
use nix::unistd::geteuid;

/// A machine in which the example is installed.
fn machine_with(name: &str) -> Machine {
    Machine::boot(
        Root::new()
            .copy(format!("/usr/bin/{name}"), example(name))
            .empty("/var/log"),
    )
}

/// What the example says behind these words.
fn hint<'a>(said: &'a str, words: &str) -> &'a str {
    let hint = said.lines().find_map(|line| line.strip_prefix(words));
    hint.unwrap_or_else(|| panic!("{words:?} is missing: {said}"))
        .trim()
}

/// Who runs this process of the machine, and with what capabilities.
fn identity(machine: &Machine, pidfile: &str) -> (String, String) {
    let pid = text(machine.path(pidfile));
    let status = text(machine.path(format!("/proc/{}/status", pid.trim())));
    let field = |name: &str| {
        hint(&status, name)
            .split('\t')
            .next()
            .expect("a value")
            .to_owned()
    };
    (field("Uid:"), field("CapPrm:"))
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// As an ordinary user: the one who runs the tests, or one whom nobody knows. Without a home, and so
/// with the log beside the pidfile.
fn ordinary(launch: Launch<'_>) -> Launch<'_> {
    let launch = launch.env("HOME", "/");
    if geteuid().is_root() {
        launch.ordinary(USER)
    } else {
        launch
    }
}

const USER: u32 = 4711;

/// A directory of the ordinary user's.
fn own_dir(scene: &Scene, name: &str) -> PathBuf {
    scene.dir(name, 0o700, geteuid().is_root().then_some(USER))
}

/// A request on a connection of its own; what is answered, to its end.
fn get(address: &str, path: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    rest(connection)
}

fn rest(mut connection: TcpStream) -> io::Result<String> {
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// An open request. Both of its requests arrive in one piece, so that the second is being served
/// when the first is answered.
fn begin_slow_request(address: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).expect("a connection");
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection
        .write_all([request("/"), request("/slow")].concat().as_bytes())
        .expect("to be heard");
    let (mut answer, mut bytes) = (String::new(), [0; 4096]);
    while !answer.contains("arrive all the same") {
        let length = connection.read(&mut bytes).expect("an answer");
        assert_ne!(length, 0, "cut short: {answer}");
        answer.push_str(std::str::from_utf8(&bytes[..length]).expect("a text"));
    }
    connection
}

/// Told to stop, by `stop`, it refuses new connections and yet answers the request that is open.
fn assert_ends_gracefully(address: &str, stop: impl FnOnce()) {
    let open = begin_slow_request(address);
    stop();
    wait_until("the port to be closed", || {
        TcpStream::connect(address)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
            .then_some(())
    });
    open.set_nonblocking(true).expect("a socket");
    let peeked = open.peek(&mut [0]).expect_err("still open");
    assert_eq!(
        peeked.kind(),
        io::ErrorKind::WouldBlock,
        "it was answered before the port was closed"
    );
    open.set_nonblocking(false).expect("a socket");
    let answer = rest(open).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("nobody cut it short"),
        "{answer}"
    );
}

#[test]
fn simpleservice_as_root() {
    require!(machine());
    let machine = machine_with("simpleservice");
    let said = machine.run(["simpleservice"]).expect_success();
    assert_eq!(
        hint(&said, "To see it work:"),
        "tail -f /var/log/simpleservice.log"
    );
    let log = || text(machine.path("/var/log/simpleservice.log"));
    wait_until("three hellos", || {
        log().starts_with(&"hello\n".repeat(3)).then_some(())
    });
    let nobody = machine.run(["id", "-u", "nobody"]).expect_success();
    assert_eq!(
        identity(&machine, "/run/simpleservice.pid"),
        (nobody, "0".repeat(16))
    );

    assert_eq!(machine.run(["simpleservice"]).status, 80);
    machine.sh(hint(&said, "To stop it:")).expect_success();
    wait_until("good-bye", || {
        log().ends_with("hello\ngood-bye\n").then_some(())
    });
    wait_until("its end", || {
        machine.pids("simpleservice").is_empty().then_some(())
    });
    // The pidfile, which nobody may not remove from /run, is in no one's way.
    machine.run(["simpleservice"]).expect_success();
}

#[test]
fn simpleservice_as_an_ordinary_user() {
    let scene = Scene::new();
    let (service, temporary) = (example("simpleservice"), own_dir(&scene, "tmp"));
    let uid = if geteuid().is_root() {
        USER
    } else {
        geteuid().as_raw()
    };
    let fallback = temporary.join(format!("simpleservice-{uid}"));
    let launch = || ordinary(scene.launch(&service)).env("TMPDIR", &temporary);
    let works_in = |launch: Launch<'_>, directory: &Path| {
        let started = launch.run();
        started.assert_ready();
        let (pidfile, log) = (
            directory.join("simpleservice.pid"),
            directory.join("simpleservice.log"),
        );
        assert_eq!(
            hint(&started.stdout, "To see it work:"),
            format!("tail -f {}", log.display())
        );
        assert_eq!(
            hint(&started.stdout, "To stop it:"),
            format!("kill $(cat {})", pidfile.display())
        );
        let daemon = scene.daemon();
        assert_eq!(
            (daemon.status().euid, text(&pidfile)),
            (uid, format!("{}\n", daemon.pid()))
        );
        scene.wait_until("two hellos", || text(&log).starts_with("hello\nhello\n"));
        assert!(scene.stop(&daemon).success());
        assert!(text(&log).ends_with("good-bye\n") && !pidfile.exists());
    };
    let runtime = own_dir(&scene, "runtime");
    works_in(launch().env("XDG_RUNTIME_DIR", &runtime), &runtime);
    works_in(launch(), &fallback);
    fs::remove_dir_all(&fallback).expect("no service uses it");
    // As su(1) leaves it.
    works_in(launch().env("XDG_RUNTIME_DIR", "/"), &fallback);

    fs::remove_dir_all(&fallback).expect("no service uses it");
    scene.dir(&fallback, 0o777, None);
    launch()
        .run()
        .assert_exited(78)
        .assert_says(&["simpleservice: cannot configure", "not this user's alone"]);
    scene.assert_no_leftovers();
}

#[test]
fn webapp_as_root() {
    require!(machine());
    let machine = machine_with("webapp");
    let said = machine.run(["webapp"]).expect_success();
    assert_eq!(hint(&said, "To see it work:"), "curl http://127.0.0.1:80/");
    let nobody = machine.run(["id", "-u", "nobody"]).expect_success();
    assert_eq!(
        identity(&machine, "/run/webapp.pid"),
        (nobody, "0".repeat(16))
    );
    machine.on_its_network(|| {
        assert!(
            get("127.0.0.1:80", "/")
                .expect("an answer")
                .contains("It works")
        );
        assert_ends_gracefully("127.0.0.1:80", || {
            // It would wait for the end.
            let stop = hint(&said, "To stop it:");
            machine
                .sh(&format!("{stop} >/dev/null 2>&1 &"))
                .expect_success();
        });
    });
    wait_until("its end", || {
        machine.pids("webapp").is_empty().then_some(())
    });
    assert_eq!(text(machine.path("/var/log/webapp.log")), "");

    // What root may read and the service's user may not.
    let refused = machine.sh("mkdir -m 700 /run/secret && exec webapp --root /run/secret");
    assert!(
        refused.status == 1 && refused.stderr.contains("/run/secret: Permission denied"),
        "{refused}"
    );
}

#[test]
fn webapp_as_an_ordinary_user() {
    let scene = Scene::new();
    let (service, runtime) = (example("webapp"), own_dir(&scene, "runtime"));
    // Free now, and no other test is likely to be given the same before this one has it.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let (port, address) = (address.port().to_string(), address.to_string());
    let launch = || {
        ordinary(scene.launch(&service))
            .env("XDG_RUNTIME_DIR", &runtime)
            .args(["--port", &port])
    };
    let stop = |daemon: &Proc| daemon.signal(libc::SIGTERM);

    launch().run().assert_ready();
    let daemon = scene.daemon();
    launch().run().assert_exited(80);
    assert!(get(&address, "/").expect("an answer").contains("It works"));
    assert_ends_gracefully(&address, || stop(&daemon));
    assert!(scene.exit_status(&daemon).success());
    assert!(!runtime.join("webapp.pid").exists());

    scene.file("secret", "secret");
    scene.dir("site", 0o755, None);
    scene.file("site/file.txt", "from a file");
    launch()
        .current_dir(scene.path(""))
        .args(["--root", "site"])
        .run()
        .assert_ready();
    let daemon = scene.daemon();
    let answer = get(&address, "/file.txt").expect("an answer");
    assert!(
        answer.contains("content-type: text/plain") && answer.ends_with("from a file"),
        "{answer}"
    );
    assert!(
        get(&address, "/../secret")
            .expect("an answer")
            .starts_with("HTTP/1.1 404")
    );
    // A connection on which nothing is asked does not keep it.
    let idle = TcpStream::connect(&address).expect("a connection");
    stop(&daemon);
    assert!(scene.exit_status(&daemon).success());
    drop(idle);
    scene.assert_no_leftovers();
}

#[test]
fn webapp_reads_its_command_line() {
    let scene = Scene::new();
    let (service, runtime) = (example("webapp"), own_dir(&scene, "runtime"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let run = |args: &[&str]| {
        let launch = ordinary(scene.launch(&service))
            .env("XDG_RUNTIME_DIR", &runtime)
            .args(args);
        let started = launch.run();
        scene.assert_no_leftovers();
        started
    };
    assert!(
        run(&["--help"])
            .assert_exited(0)
            .stdout
            .contains("--root <DIRECTORY>")
    );
    run(&["--port", "0"])
        .assert_exited(2)
        .assert_says(&["invalid value '0' for '--port <PORT>'"]);
    run(&["--prot", "80"])
        .assert_exited(2)
        .assert_says(&["'--prot'", "'--port'"]);
    run(&["--root", "nowhere"])
        .assert_exited(78)
        .assert_says(&["webapp: cannot configure: nowhere: No such file"]);
    let address = taken.local_addr().expect("bound");
    let busy = format!(
        "cannot initialize: cannot open: the socket http ({address}): {}",
        errno_text(libc::EADDRINUSE)
    );
    run(&["--port", &address.port().to_string()])
        .assert_exited(1)
        .assert_says(&[&busy]);
}
