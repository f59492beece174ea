//! `examples/forwarder`: a command line and a configuration file of its own.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use daemon_harness::{PATIENCE, Scene, Started};
use daemon_tests::built::example;
use serde_json::Value;

use super::{ordinary, own_dir};

/// A server that answers each line with its own name.
fn target(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while client.read(&mut byte).expect("a client") == 1 {
                    client.write_all(name.as_bytes()).expect("a client");
                }
            });
        }
    });
    address
}

/// A server that breaks each connection off: it closes what it has not read.
fn broken_target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            client.peek(&mut [0]).expect("a client");
        }
    });
    address
}

/// The answer to one more question on this connection.
fn ask(mut server: &TcpStream) -> io::Result<String> {
    server.write_all(b"?")?;
    let mut answer = [0; 3];
    server.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The forwarder of an ordinary user.
struct Forwarder<'s> {
    scene: &'s Scene,
    program: PathBuf,
    directory: PathBuf,
}

impl Forwarder<'_> {
    fn call(&self, words: &[&str]) -> Started {
        ordinary(self.scene.launch(&self.program))
            .env("RUNTIME_DIRECTORY", &self.directory)
            .env("LOGS_DIRECTORY", &self.directory)
            .current_dir(self.scene.path(""))
            .args(["--config", "config.toml"])
            .args(words)
            .run()
    }

    fn configure(&self, listen: &str, target: &str) {
        let text = format!("listen = \"{listen}\"\ntarget = \"{target}\"\n");
        self.scene.file("config.toml", text);
    }

    fn connect(&self) -> TcpStream {
        let status = self.call(&["status", "--json"]).stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let listening = status["listening"][0].as_str().expect("an address");
        let address = listening.strip_prefix("tcp ").expect("TCP");
        TcpStream::connect(address).expect("the forwarder")
    }
}

#[test]
fn forwarder_follows_its_configuration() {
    let scene = Scene::new();
    let forwarder = Forwarder {
        scene: &scene,
        program: example("forwarder"),
        directory: own_dir(&scene, "run"),
    };
    let failed = forwarder.call(&["start"]);
    failed
        .assert_exited(78)
        .assert_says(&["config.toml: No such file"]);
    scene.file(
        "config.toml",
        "listen = \"127.0.0.1:0\"\ntaget = \"127.0.0.1:1\"\n",
    );
    let failed = forwarder.call(&["check"]);
    failed
        .assert_exited(78)
        .assert_says(&["config.toml", "line 2", "`taget`"]);

    let (one, two) = (target("one"), target("two"));
    forwarder.configure("127.0.0.1:0", &one);
    forwarder.call(&["start"]).assert_ready();
    let old = forwarder.connect();
    assert_eq!(ask(&old).expect("an answer"), "one");
    forwarder.configure("127.0.0.1:0", &two);
    forwarder.call(&["reload"]).assert_ready();
    let new = forwarder.connect();
    assert_eq!(ask(&new).expect("an answer"), "two");
    assert_eq!(ask(&old).expect("an answer"), "one");

    forwarder.configure("127.0.0.1:1", &one);
    let failed = forwarder.call(&["reload"]);
    failed
        .assert_exited(1)
        .assert_says(&["another address to listen on takes a restart"]);

    // A connection may end before the service does.
    let daemon = scene.daemon();
    daemon.signal(libc::SIGTERM);
    assert_eq!(ask(&new).expect("an answer"), "two");
    drop((old, new));
    assert!(scene.exit_status(&daemon).success());
}

#[test]
fn forwarder_leaves_no_client_waiting_for_a_server_that_breaks_off() {
    let scene = Scene::new();
    let forwarder = Forwarder {
        scene: &scene,
        program: example("forwarder"),
        directory: own_dir(&scene, "run"),
    };
    forwarder.configure("127.0.0.1:0", &broken_target());
    forwarder.call(&["start"]).assert_ready();
    let client = forwarder.connect();
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let error = ask(&client).expect_err("there is no answer");
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "it waits in vain");
    forwarder.call(&["stop"]).assert_ready();
}

#[test]
fn forwarder_stops_with_a_broken_configuration() {
    let scene = Scene::new();
    let forwarder = Forwarder {
        scene: &scene,
        program: example("forwarder"),
        directory: own_dir(&scene, "run"),
    };
    forwarder.configure("127.0.0.1:0", "127.0.0.1:1");
    forwarder.call(&["start"]).assert_ready();
    scene.file("config.toml", "listen");
    forwarder.call(&["reload"]).assert_exited(78);
    forwarder.call(&["stop"]).assert_ready();
    scene.assert_no_leftovers();
}
