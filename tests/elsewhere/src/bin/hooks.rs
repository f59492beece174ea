//! A service with every hook. Its arguments say what it sets, and which hook does what.

use std::io::{self, Read};
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use daemon_rt::{Daemon, ErrorKind, Mode, daemon, listen, listener_or, shutdown};

#[daemon(name = "hooks", configure = configure, privileged_init = bind, init = init, umask = 0o022, start_timeout = "1m", keep_env = ["RUST_LOG"], working_directory = "/", stdout = "/log", stderr = "/log")]
fn main(listener: TcpListener) -> io::Result<()> {
    println!("main");
    match words().next().as_deref() {
        // Says where it listens, and ends when someone has come.
        Some("listen") => {
            println!("{}", listener.local_addr()?);
            listener.accept()?;
        }
        // Ends when it is told to, and says so.
        Some("wait") => {
            println!("requested: {}", shutdown().wait_timeout(Duration::ZERO));
            shutdown().wait();
            println!("requested: {}", shutdown().requested());
        }
        // Asks for its own end, and hangs.
        Some("hang") => {
            shutdown().request();
            shutdown().wait();
            loop {
                thread::park();
            }
        }
        _ => {}
    }
    Ok(())
}

/// The arguments.
fn words() -> impl Iterator<Item = String> {
    std::env::args().skip(1)
}

fn configure(daemon: &mut Daemon) -> Result<(), String> {
    println!("configure");
    for word in words() {
        match &*word {
            "pidfile" => _ = daemon.pidfile("hooks.pid"),
            "user" => _ = daemon.user("nobody"),
            "group" => _ = daemon.group("nogroup"),
            "groups" => _ = daemon.groups(["adm"]),
            "chroot" => _ = daemon.chroot("/srv"),
            "capabilities" => _ = daemon.capabilities(["CAP_KILL"]),
            "no_new_privs" => _ = daemon.no_new_privs(true),
            "keep_fds" => _ = daemon.keep_fds([3]),
            "keep_fds_from" => _ = daemon.keep_fds_from(["KEPT"]),
            "detach" => _ = daemon.mode(Mode::Detach),
            "foreground" => _ = daemon.mode(Mode::Foreground),
            "restart" => _ = daemon.restart(Duration::from_secs(1)),
            "hang" => _ = daemon.stop_timeout(Duration::from_millis(300)),
            "fail" => return Err("no configuration".to_owned()),
            "panic" => panic!("on purpose"),
            _ => {}
        }
    }
    Ok(())
}

fn bind() -> Result<TcpListener, daemon_rt::Error> {
    println!("privileged_init");
    let taken = listen::<UdpSocket>("udp", "127.0.0.1:0")?;
    let again = match taken.local_addr() {
        Ok(address) => listen::<UdpSocket>("udp", address),
        Err(_) => listener_or("udp", || UdpSocket::bind("127.0.0.1:0")),
    };
    match again {
        Err(error) if error.kind() == ErrorKind::Socket => {}
        other => panic!("an address that is in use: {other:?}"),
    }
    assert!(daemon_rt::listeners()?.is_empty());
    listen("tcp", "127.0.0.1:0")
}

fn init(listener: TcpListener) -> io::Result<TcpListener> {
    println!("init");
    daemon_rt::status("almost there");
    if words().any(|word| word == "stdin") {
        io::stdin().read_exact(&mut [0])?;
    }
    if words().any(|word| word == "wait") {
        _ = shutdown();
    }
    Ok(listener)
}
