//! A service that has turned hostile, and obeys the protocol of the control socket: it wants to
//! keep whoever controls it waiting, or to harm them. `HOSTILE` holds words, with spaces between:
//! `pidfile=PATH`, and how it answers:
//!
//! - `reload=lingering`: with a connection that blocks whoever closes it last; `later`: in a
//!   message of its own after the answer; `instead`: without an answer
//! - `sockets=lingering`: such a connection among its sockets; `more`: more descriptors than it
//!   names; `fewer`: fewer; `drip`: one at a time, for ever; `absurd`: more than there can be;
//!   `escape`: a name for a terminal; `silence`: none
//! - `stays`: it does not end

use std::convert::Infallible;
use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use daemon_rt::{Daemon, daemon, shutdown};
use daemon_tests::Settings;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind,
    listen, recv, sendmsg, setsockopt, socket, sockopt,
};

/// Longer than any test.
const LONG: Duration = Duration::from_hours(1);

#[daemon(cli, configure = configure, umask = 0o022)]
fn main(settings: Settings) {
    _ = shutdown();
    let path = PathBuf::from(format!(
        "{}.control",
        settings.get("pidfile").expect("a pidfile")
    ));
    let stays = settings.get("stays").is_some();
    // The library's own is as good as gone.
    fs::remove_file(&path).expect("the library's");
    let control = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(control.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("a path");
    listen(&control, Backlog::new(8).expect("few")).expect("a listener");
    thread::spawn(move || {
        loop {
            let caller = accept(control.as_raw_fd()).expect("a caller");
            let mut word = [0; 64];
            let length = recv(caller, &mut word, MsgFlags::empty()).unwrap_or(0);
            answer(caller, &word[..length], &settings);
        }
    });
    shutdown().wait();
    if stays {
        thread::sleep(LONG);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a hook returns a `Result`")]
fn configure(daemon: &mut Daemon) -> Result<Settings, Infallible> {
    Ok(Settings::of_variable("HOSTILE", daemon))
}

fn answer(caller: RawFd, word: &[u8], settings: &Settings) {
    let how = if word.starts_with(b"reload") {
        settings.get("reload")
    } else {
        settings.get("sockets")
    };
    let connection = lingering();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let lock = lock(settings);
    let all = [lock.as_fd(), connection.as_fd()];
    match (word.starts_with(b"reload"), how) {
        (true, Some("lingering")) => send(caller, b"reloaded", &[connection.as_fd()]),
        (true, Some("later")) => {
            send(caller, b"reloaded", &[]);
            send(caller, b"", &[]);
            send(caller, b"", &[connection.as_fd()]);
        }
        (true, Some("instead")) => send(caller, b"", &[connection.as_fd()]),
        (false, Some("lingering")) => send(caller, b"1\0Sx", &all),
        (false, Some("more")) => send(caller, b"1\0Sx", &[all[0], listener.as_fd(), all[1]]),
        (false, Some("fewer")) => send(caller, b"2\0Sx\0Sy", &all),
        (false, Some("absurd")) => send(caller, b"18446744073709551615\0Sx", &all),
        (false, Some("escape")) => send(
            caller,
            b"1\0S\x1b]0;title\x07\x1b[2J",
            &[all[0], listener.as_fd()],
        ),
        (false, Some("drip")) => {
            send(caller, b"60000\0Sx", &[all[0], listener.as_fd()]);
            while recv(caller, &mut [0; 64], MsgFlags::empty()).is_ok_and(|length| length > 0) {
                thread::sleep(Duration::from_millis(700));
                send(caller, b"60000\0Sx", &[listener.as_fd()]);
            }
        }
        _ => {}
    }
    // The connection to the caller stays open: there is no end to be seen.
}

/// A copy of the descriptor that holds the pidfile's lock.
fn lock(settings: &Settings) -> OwnedFd {
    let pidfile = fs::canonicalize(settings.get("pidfile").expect("a pidfile")).expect("a pidfile");
    let entries = fs::read_dir("/proc/self/fd").expect("descriptors");
    let mut paths = entries.map(|entry| entry.expect("a descriptor").path());
    let held = paths
        .find(|path| fs::read_link(path).is_ok_and(|target| target == pidfile))
        .expect("the lock");
    let number: RawFd = held
        .file_name()
        .expect("a number")
        .to_string_lossy()
        .parse()
        .expect("a number");
    daemon_harness::duplicate(number).expect("a copy")
}

/// A connection with more to send than its peer takes. To close the last copy of it blocks.
fn lingering() -> OwnedFd {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut connection =
        TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    std::mem::forget(listener.accept().expect("its other end"));
    connection.set_nonblocking(true).expect("a socket");
    while connection.write(&[0; 1 << 14]).is_ok() {}
    connection.set_nonblocking(false).expect("a socket");
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: i32::try_from(LONG.as_secs()).expect("it is short"),
    };
    setsockopt(&connection, sockopt::Linger, &linger).expect("a socket");
    connection.into()
}

fn send(caller: RawFd, text: &[u8], fds: &[BorrowedFd<'_>]) {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    _ = sendmsg::<()>(
        caller,
        &[IoSlice::new(text)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
}
