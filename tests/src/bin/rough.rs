//! A service whose code is not polite. Its arguments are settings (`pidfile=/x`) and what its hooks
//! do, one after the other: `HOOK:ACTION` or `HOOK:ACTION=VALUE` with the hooks `configure`,
//! `privileged_init`, `init` and `main`. At last `main` waits for the termination request.

use std::fs::OpenOptions;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::{error, fmt, io};

use daemon_harness::{fork, rough};
use daemon_rt::{Daemon, daemon};
use daemon_tests::set;
use nix::sched::{CloneFlags, unshare};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

#[daemon(configure = configure, privileged_init = privileged_init, init = init)]
fn main() -> Result<()> {
    perform("main")?;
    daemon_rt::shutdown().wait();
    Ok(())
}

fn configure(daemon: &mut Daemon) -> Result<()> {
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) if !key.contains(':') => _ = set(daemon, key, value)?,
            _ => {}
        }
    }
    perform("configure")
}

fn privileged_init() -> Result<()> {
    perform("privileged_init")
}

fn init() -> Result<()> {
    perform("init")
}

fn perform(hook: &str) -> Result<()> {
    for argument in std::env::args().skip(1) {
        if let Some(action) = argument
            .strip_prefix(hook)
            .and_then(|rest| rest.strip_prefix(':'))
        {
            let (action, value) = action.split_once('=').unwrap_or((action, ""));
            act(action, value)?;
        }
    }
    Ok(())
}

fn act(action: &str, value: &str) -> Result<()> {
    match action {
        "close" => rough::close(value.parse()?),
        // All from this number up.
        "close_all" => rough::close_range(value.parse()?, RawFd::MAX)?,
        // `PATH>NUMBER`: opens the file as that descriptor, whatever that was.
        "open_as" => {
            let (path, number) = value.split_once('>').ok_or("open_as=PATH>NUMBER")?;
            rough::place(open(path)?, number.parse()?)?;
        }
        // So many, at whatever numbers are free: `PATH*COUNT`.
        "open" => {
            let (path, count) = value.split_once('*').unwrap_or((value, "1"));
            for _ in 0..count.parse()? {
                std::mem::forget(open(path)?);
            }
        }
        // A socket pair, at whatever numbers are free.
        "sockets" => std::mem::forget(std::os::unix::net::UnixDatagram::pair()?),
        // A child that goes on and holds everything.
        "fork" if fork()?.is_child() => loop {
            std::thread::park();
        },
        // So many processes that end at once, as orphans. Where a limit on processes is reached, it
        // is tried again for a while.
        "orphans" => {
            for _ in 0..value.parse::<u32>()? {
                let mut tries = 0..1000;
                while orphan().is_err() {
                    tries.next().ok_or("the limit on processes stays reached")?;
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
        // The child goes on in place of this process.
        "fork_away" if fork()?.is_parent() => exit(0),
        "fork" | "fork_away" => {}
        "new_pids" => unshare(CloneFlags::CLONE_NEWPID)?,
        "setsid" => _ = nix::unistd::setsid(),
        "ignore" => rough::set_ignored(value.parse()?, true)?,
        "kill" => nix::sys::signal::raise(value.parse::<i32>()?.try_into()?)?,
        "exec" => return Err(Command::new("/bin/sleep").arg(value).exec().into()),
        "exit" => exit(value.parse()?),
        "err" => return Err(value.into()),
        "escapes" => return Err("\x1b]0;owned\x07\x1b[2Jtwo\nlines\u{9b}31m".into()),
        "circular" => return Err(Circular.into()),
        "unsaid" => return Err(" \n".into()),
        "turns" => return Err("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{2028}f\u{2029}g".into()),
        "chroot" => nix::unistd::chroot(value)?,
        "os_error" => return Err(io::Error::from_raw_os_error(value.parse()?).into()),
        "display_panics" => return Err(Odd::Display.into()),
        "drop_panics" => return Err(Odd::Drop.into()),
        "payload_panics" => std::panic::panic_any(Odd::Drop),
        "status" => daemon_rt::status(value),
        "note" => std::fs::write(value, "here\n")?,
        "cat" => _ = std::fs::read(value)?,
        "sh" => {
            let status = Command::new("/bin/sh").arg("-c").arg(value).status()?;
            if !status.success() {
                return Err(format!("{value}: {status}").into());
            }
        }
        "hang" => loop {
            std::thread::park();
        },
        _ => return Err(format!("unknown action {action}").into()),
    }
    Ok(())
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?
        .into())
}

fn orphan() -> io::Result<()> {
    if let nix::unistd::ForkResult::Parent { child } = fork()? {
        return match nix::sys::wait::waitpid(child, None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
    }
    exit(i32::from(fork().is_err()));
}

/// An error that is its own source.
#[derive(Debug)]
struct Circular;

impl fmt::Display for Circular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("round and round")
    }
}

impl error::Error for Circular {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(self)
    }
}

/// An error that panics.
#[derive(Debug)]
enum Odd {
    Display,
    Drop,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(matches!(self, Self::Drop), "no words");
        f.write_str("an error")
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        assert!(matches!(self, Self::Display), "not dropped");
    }
}

impl error::Error for Odd {}
