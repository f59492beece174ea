//! What each of many sockets costs, by counts: they are the same on every machine, whatever else it does.

use std::fs;
use std::process::{Child, Command, Stdio};

use daemon_harness::{Proc, Scene, bin, require};

use crate::Listening;

/// Sockets that are looked for one by one make a restart with a thousand of them slow.
#[test]
fn each_of_a_thousand_sockets_is_found_without_a_look_at_the_others() {
    require!(tool("valgrind"), tool("python3"));
    for words in ["many", "named"] {
        let none = instructions(words, 1);
        let some = instructions(words, 400) - none;
        let more = instructions(words, 800) - none;
        // Twice as much, not four times.
        assert!(more < 3 * some, "{words}: {some} for 400, {more} for 800");
        println!("{words}: {some} for 400, {more} for 800");
    }
}

/// Of the service, when a manager has passed it so many sockets, as callgrind counts them.
fn instructions(words: &str, count: u64) -> u64 {
    let scene = Scene::new();
    let log = scene.path("callgrind");
    let (pidfile, places) = (scene.pidfile(), scene.path("places"));
    let words = format!(
        "pidfile={} places={} {words}={count}",
        pidfile.display(),
        places.display()
    );
    let mut manager = Command::new("python3");
    manager.args([
        "-c",
        MANAGER,
        &count.to_string(),
        "valgrind",
        "--tool=callgrind",
    ]);
    manager.arg("--callgrind-out-file=/dev/null");
    manager.arg(format!("--log-file={}", log.display()));
    manager
        .arg(bin("listening"))
        .arg("run")
        .env("LISTENING", words);
    let mut service = manager.stdin(Stdio::null()).spawn().expect("python3");
    scene.wait_until("the service to say where it listens", || {
        ended(&mut service) || fs::read(&places).is_ok_and(|places| !places.is_empty())
    });
    let process = Proc::new(i32::try_from(service.id()).expect("a pid"));
    process.expect("our child").signal(libc::SIGTERM);
    let status = service.wait().expect("our child");
    let log = fs::read_to_string(log).expect("valgrind's");
    assert!(status.success(), "{log}");
    let (_, collected) = log.split_once("Collected : ").expect("a count");
    let collected = collected.split_whitespace().next().expect("a number");
    collected.parse().expect("a number")
}

fn ended(process: &mut Child) -> bool {
    process.try_wait().expect("our child").is_some()
}

/// Opens sockets, names each, and becomes the program that follows.
const MANAGER: &str = r#"
import os, resource, socket, sys
count = int(sys.argv[1])
os.closerange(3, 1024)
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
assert listeners[0].fileno() == 3 and listeners[-1].fileno() == count + 2
for listener in listeners:
    listener.set_inheritable(True)
name = "many" if f"many={count}" in os.environ["LISTENING"] else "named-{}"
names = ":".join(name.format(i) for i in range(count))
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execvp(sys.argv[2], sys.argv[2:])
"#;

/// The restarter's and the new instance's calls, with those of the service, which asks for its address.
#[test]
fn each_socket_costs_a_restart_thirteen_system_calls() {
    require!(tool("strace"));
    let (some, more) = (calls(252), calls(1000));
    // The starter may have to look once more until the new instance is ready.
    let waiting = 300;
    assert!(
        more <= some + 13 * (1000 - 252) + waiting,
        "{some} for 252, {more} for 1,000"
    );
}

fn calls(count: u32) -> usize {
    let scene = Scene::new();
    let service = Listening::new(&scene).with(format!("many={count}"));
    let command = |line: &str| service.limited(line, 4096);
    command("start").run().assert_ready();
    command("restart").strace("calls", &[]).run().assert_ready();
    let log = fs::read_to_string(scene.path("calls")).expect("strace's");
    let begun = |line: &&str| line.contains('(') && !line.contains("resumed>");
    log.lines().filter(begun).count()
}
