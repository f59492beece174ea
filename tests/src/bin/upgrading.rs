//! A service that passes its listener on by a protocol of its own, as pingora does: the new
//! instance is started with `--upgrade`, and gets the descriptor over a Unix socket. It answers
//! whoever connects with its pid, and ends when it is told to.
//!
//! `upgrading DIRECTORY [--upgrade] [--fail] [--wait]`: with `--fail` its `init` fails when it has
//! the listener; with `--wait` it waits there until it can read from the FIFO `gate`.

use std::error::Error;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process;
use std::sync::Mutex;
use std::thread;

use daemon_rt::{Daemon, daemon, shutdown};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

struct Options {
    directory: PathBuf,
    upgrade: bool,
    fail: bool,
    wait: bool,
}

#[daemon(configure = configure, init = init)]
fn main((options, listener): (Options, TcpListener)) -> io::Result<()> {
    let passing = options.directory.join("upgrade");
    _ = fs::remove_file(&passing);
    let passing = UnixListener::bind(passing)?;
    let passed = listener.try_clone()?;
    thread::spawn(move || {
        passing
            .incoming()
            .flatten()
            .try_for_each(|peer| pass(&peer, &passed))
    });
    listener.set_nonblocking(true)?;
    thread::spawn(move || answer(&listener));
    shutdown().wait();
    // Who was accepted is answered; who is not is the other instance's.
    std::mem::forget(ACCEPTING.lock());
    Ok(())
}

/// Held from an accept(2) to the answer.
static ACCEPTING: Mutex<()> = Mutex::new(());

fn answer(listener: &TcpListener) {
    loop {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        _ = poll(&mut waiting, PollTimeout::NONE);
        let _accepting = ACCEPTING.lock();
        if let Ok((mut peer, _)) = listener.accept() {
            _ = writeln!(peer, "{}", process::id());
        }
    }
}

fn configure(daemon: &mut Daemon) -> Result<Options, String> {
    let mut words = std::env::args().skip(1);
    let directory = PathBuf::from(words.next().ok_or("no directory")?);
    let words: Vec<String> = words.collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    daemon
        .pidfile(directory.join("service.pid"))
        .control_socket();
    if has("--upgrade") {
        daemon.upgrade();
    }
    Ok(Options {
        directory,
        upgrade: has("--upgrade"),
        fail: has("--fail"),
        wait: has("--wait"),
    })
}

fn init(options: Options) -> Result<(Options, TcpListener), Box<dyn Error>> {
    let listener = if options.upgrade {
        take(&UnixStream::connect(options.directory.join("upgrade"))?)?
    } else {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        fs::write(options.directory.join("address"), address)?;
        listener
    };
    if options.wait {
        fs::read(options.directory.join("gate"))?;
    }
    if options.fail {
        return Err("on purpose".into());
    }
    Ok((options, listener))
}

fn pass(peer: &UnixStream, listener: &TcpListener) -> nix::Result<()> {
    let descriptors = [listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let text = [IoSlice::new(b"listener")];
    sendmsg::<()>(peer.as_raw_fd(), &text, &rights, MsgFlags::empty(), None)?;
    Ok(())
}

#[allow(unsafe_code)]
fn take(from: &UnixStream) -> Result<TcpListener, Box<dyn Error>> {
    let (mut text, mut space) = ([0; 16], nix::cmsg_space!([i32; 1]));
    let mut text = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(from.as_raw_fd(), &mut text, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            // SAFETY: it has just come with the message, for this process to own.
            let listener = unsafe { OwnedFd::from_raw_fd(descriptors[0]) };
            return Ok(listener.into());
        }
    }
    Err("no descriptor".into())
}
