//! Sockets from the manager, with the test itself as the manager: names, kinds, nonsense, and none
//! at all.

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use daemon_harness::{Scene, bin, errno_text};
use daemon_tests::activated::Activated;

/// The service with these sockets and arguments: its exit status, and what it said.
fn ended(sockets: [OwnedFd; 2], variables: &str, arguments: &[String]) -> (Option<i32>, String) {
    let more = |service: &mut Command| _ = service.args(arguments);
    Activated::start(&bin("svc"), sockets, variables, more).ended()
}

fn tcp() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").expect("a port").into()
}

fn udp() -> OwnedFd {
    UdpSocket::bind("127.0.0.1:0").expect("a port").into()
}

/// Takes two sockets as these kinds under these names; the exit status, the names, and what it
/// said.
fn take(
    scene: &Scene,
    sockets: [OwnedFd; 2],
    variables: &str,
    kinds: &str,
) -> (Option<i32>, String, String) {
    let names = scene.file("names", "");
    let take = format!("init:take={}:{kinds}", names.display());
    let variables = format!("LISTEN_PID=$$ LISTEN_FDS=2 {variables}");
    let (status, stderr) = ended(sockets, &variables, &[take, "main:exit=9".into()]);
    (status, fs::read_to_string(names).expect("names"), stderr)
}

#[test]
fn sockets_have_their_names_in_order() {
    let scene = Scene::new();
    let (status, names, _) = take(&scene, [tcp(), udp()], "LISTEN_FDNAMES=web:dns", "tcp,udp");
    assert_eq!((status, names.as_str()), (Some(9), "web\ndns\n"));
}

#[test]
fn e43_fewer_names_are_unknown_and_more_mean_nothing() {
    let scene = Scene::new();
    for (variable, expected) in [
        ("", "unknown\nunknown\n"),
        ("LISTEN_FDNAMES=", "unknown\nunknown\n"),
        ("LISTEN_FDNAMES=one", "one\nunknown\n"),
        ("LISTEN_FDNAMES=one:two:three", "one\ntwo\n"),
    ] {
        let (status, names, stderr) = take(&scene, [tcp(), udp()], variable, "tcp,udp");
        assert_eq!(
            (status, names.as_str()),
            (Some(9), expected),
            "{variable}: {stderr}"
        );
    }
}

#[test]
fn e43_an_empty_name_does_not_shift_the_others() {
    let scene = Scene::new();
    let (status, names, _) = take(&scene, [tcp(), udp()], "LISTEN_FDNAMES=:dns", "tcp,udp");
    assert_eq!(status, Some(9));
    assert_eq!(names.lines().nth(1), Some("dns"), "{names}");
}

#[test]
fn each_kind_is_told_from_every_other() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let connection = || -> OwnedFd {
        TcpStream::connect(listener.local_addr().expect("bound"))
            .expect("it")
            .into()
    };
    let unix = || -> OwnedFd {
        _ = fs::remove_file(scene.path("unix"));
        UnixListener::bind(scene.path("unix"))
            .expect("a socket")
            .into()
    };
    let datagram = || -> OwnedFd { UnixDatagram::unbound().expect("a socket").into() };
    let fifo = || -> OwnedFd {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(writer);
        reader.into()
    };
    let kinds: [(&str, &str, &dyn Fn() -> OwnedFd); 6] = [
        ("tcp", "a listening TCP socket", &tcp),
        ("udp", "a UDP socket", &udp),
        ("tcp-connection", "a TCP connection", &connection),
        ("unix", "a listening Unix stream socket", &unix),
        ("unix-datagram", "a Unix datagram socket", &datagram),
        ("fifo", "a FIFO", &fifo),
    ];
    for (real, is, make) in kinds {
        for (wanted, would_be, _) in kinds {
            let (status, _, stderr) =
                take(&scene, [make(), udp()], "LISTEN_FDNAMES=it:other", wanted);
            if real == wanted {
                assert_eq!(status, Some(9), "{real}: {stderr}");
            } else {
                assert_eq!(status, Some(1), "{real} as {wanted}");
                assert!(
                    stderr.contains(&format!("it from the manager: it is {is}, not {would_be}")),
                    "{stderr}"
                );
            }
        }
        let (status, _, stderr) = take(&scene, [make(), udp()], "", "any,any");
        assert_eq!(status, Some(9), "{real} as OwnedFd: {stderr}");
    }
}

#[test]
fn a_sequential_packet_socket_and_a_file_are_of_no_type_of_stds() {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let scene = Scene::new();
    let packets = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    let (status, _, stderr) = take(&scene, [packets, udp()], "", "unix");
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("a Unix sequential-packet connection, not a listening Unix stream socket"),
        "{stderr}"
    );
    let file = fs::File::open(scene.file("file", "")).expect("a file");
    let (status, _, stderr) = take(&scene, [file.into(), udp()], "", "fifo");
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("it is something else, not a FIFO"),
        "{stderr}"
    );
}

#[test]
fn e43_sockets_of_another_process_are_none_and_no_error() {
    let scene = Scene::new();
    let names = scene.path("names");
    for pid in ["1", "0", "", "x", "-1"] {
        let take = format!("init:take={}:tcp,udp", names.display());
        let variables = format!("LISTEN_PID={pid} LISTEN_FDS=2 DAEMON_MODE=foreground");
        let (status, stderr) = ended([tcp(), udp()], &variables, &[take, "main:exit=9".into()]);
        assert_eq!((status, stderr.as_str()), (Some(9), ""), "{pid}");
        assert_eq!(fs::read_to_string(&names).expect("names"), "");
    }
}

#[test]
fn e43_a_number_that_is_none_is_a_clear_error() {
    for count in ["x", "-1", "", "3", "65537", "4294967298", "1e3"] {
        let variables = format!("LISTEN_PID=$$ LISTEN_FDS={count}");
        let arguments = ["init:take=/dev/null:".to_owned(), "main:exit=9".to_owned()];
        let (status, stderr) = ended([tcp(), udp()], &variables, &arguments);
        assert_eq!(status, Some(1), "{count}: {stderr}");
        assert!(
            stderr.contains(&format!(
                "LISTEN_FDS={count}: must be the number of open descriptors"
            )),
            "{stderr}"
        );
    }
}

#[test]
fn e43_zero_sockets_are_none() {
    let arguments = ["init:take=/dev/null:".to_owned(), "main:exit=9".to_owned()];
    let (status, stderr) = ended([tcp(), udp()], "LISTEN_PID=$$ LISTEN_FDS=0", &arguments);
    assert_eq!((status, stderr.as_str()), (Some(9), ""));
}

#[test]
fn sockets_are_taken_once() {
    let scene = Scene::new();
    let names = scene.path("names");
    let take = format!("init:take={}:tcp,udp", names.display());
    let arguments = [take.clone(), take, "main:exit=9".to_owned()];
    let (status, _) = ended([tcp(), udp()], "LISTEN_PID=$$ LISTEN_FDS=2", &arguments);
    assert_eq!(status, Some(9));
    assert_eq!(
        fs::read_to_string(names).expect("names"),
        "",
        "the second time there are none"
    );
}

#[test]
fn e12_activation_sockets_survive_and_are_not_inherited_by_children() {
    let scene = Scene::new();
    let list = scene.path("list");
    let arguments = [
        format!("init:sh=ls -l /proc/self/fd >{}", list.display()),
        "main:exit=9".to_owned(),
    ];
    let (status, _) = ended([tcp(), udp()], "LISTEN_PID=$$ LISTEN_FDS=2", &arguments);
    assert_eq!(status, Some(9));
    let list = fs::read_to_string(list).expect("a list");
    assert!(
        !list.contains(" 4 -> ") && !list.contains(" 3 -> socket:"),
        "3 is the directory: {list}"
    );
}

#[test]
fn activated_or_else_bound_by_itself() {
    // The passed socket is used: the port that it would bind is taken.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let arguments = [
        format!("init:listener_or={address}"),
        "main:exit=9".to_owned(),
    ];
    let (status, stderr) = ended([tcp(), udp()], "LISTEN_PID=$$ LISTEN_FDS=2", &arguments);
    assert_eq!(status, Some(9), "{stderr}");
    // Of another kind: an error, not a fallback.
    let arguments = [
        "init:listener_or=127.0.0.1:0".to_owned(),
        "main:exit=9".to_owned(),
    ];
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=main:other";
    let (status, stderr) = ended([udp(), tcp()], variables, &arguments);
    assert!(
        status == Some(1) && stderr.contains("not a listening TCP socket"),
        "{stderr}"
    );
    // Not activated: bound by itself, and an error if that cannot be.
    let scene = Scene::new();
    let launch = |address: &str| {
        scene
            .launch(bin("svc"))
            .set("mode", "foreground")
            .set("init:listener_or", address)
    };
    launch("127.0.0.1:0")
        .arg("main:exit=9")
        .run()
        .assert_exited(9);
    let says = ["the socket main", &errno_text(libc::EADDRINUSE)];
    launch(&address).run().assert_exited(1).assert_says(&says);
}

#[test]
fn descriptors_are_stored_only_by_a_manager_and_under_a_sound_name() {
    use daemon_harness::managers::NotifySocket;
    let scene = Scene::new();
    let store = |name: &str| {
        scene
            .launch(bin("svc"))
            .set("init:store", name)
            .arg("main:exit=9")
    };
    store("x")
        .set("mode", "foreground")
        .run()
        .assert_exited(1)
        .assert_says(&["no manager that stores descriptors"]);
    let manager = NotifySocket::at(scene.path("notify"));
    let stored = |name: &str| store(name).env("NOTIFY_SOCKET", scene.path("notify"));
    stored("connection")
        .arg("init:remove_stored=connection")
        .run()
        .assert_exited(9);
    assert_eq!(
        manager.pending(),
        [
            "FDSTORE=1\nFDNAME=connection",
            "FDSTOREREMOVE=1\nFDNAME=connection",
            "READY=1"
        ]
    );
    for unsound in ["", "a:b", "a\nREADY=1", "é", &"x".repeat(256)] {
        store(unsound)
            .set("mode", "foreground")
            .run()
            .assert_exited(1)
            .assert_says(&["the name must be 1 to 255 bytes"]);
    }
}
