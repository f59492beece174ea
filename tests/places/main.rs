//! A program that owns a pipe, without `FD_CLOEXEC`, and then starts its service: in its `main`, which
//! is the program's, or late if there is an argument. It is built in several ways, also as a test.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::OnceLock;

static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

mod late {
    /// Fails unless the pipe is as it was.
    #[daemon_rt::daemon(configure = crate::pidfile, init = crate::check)]
    pub(crate) fn serve() {
        daemon_rt::shutdown().wait();
    }
}

fn main() -> ExitCode {
    PIPE.set(rustix::pipe::pipe().expect("a pipe")).expect("once");
    late::serve()
}

fn pidfile(daemon: &mut daemon_rt::Daemon) -> std::io::Result<()> {
    if let Some(path) = std::env::var_os("PIDFILE_PATH") {
        daemon.pidfile(path);
    }
    Ok(())
}

fn check() -> std::io::Result<()> {
    let (read, write) = PIPE.get().expect("a pipe");
    rustix::io::write(write, b"x")?;
    rustix::io::read(read, &mut [0])?;
    Ok(())
}
