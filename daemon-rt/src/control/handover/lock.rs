//! The restart lock: one restart at a time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use crate::steps::pidfile;
use crate::sys::safe_open::SafePath;

/// Time limit for another restart, which runs the hooks of a whole start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes the lock: an open-file-description lock on a byte of the pidfile, independent of its
/// flock(2). Returns the file that holds it; `None` if the pidfile has gone meanwhile.
pub(super) fn lock_restart(path: &Path) -> io::Result<Option<File>> {
    let place = SafePath::of(path)?;
    let (pidfile, found) = match place.open(OFlag::O_RDWR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let pidfile = File::from(pidfile);
    let mut owner = pidfile::read_pid(&pidfile)?;
    let mut began = Instant::now();
    let mut pause = Duration::from_millis(1);
    // F_OFD_SETLKW would wait without a limit, and go on after signals.
    while !try_lock(&pidfile)? {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!(
                "another restart has been under way for {PATIENCE:?}"
            )));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
        // With another owner, that restart is over, and the next one has its own time.
        let now = pidfile::read_pid(&pidfile)?;
        if now != owner {
            (owner, began) = (now, Instant::now());
        }
    }
    if place.still_is(&found)? {
        Ok(Some(pidfile))
    } else {
        Ok(None)
    }
}

fn try_lock(pidfile: &File) -> io::Result<bool> {
    let lock = pidfile::restart_lock();
    match fcntl(pidfile, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => return Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => {}
        Err(Errno::EINTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let mut held = pidfile::restart_lock();
    let asked = held.l_start;
    fcntl(pidfile, FcntlArg::F_OFD_GETLK(&mut held))?;
    // The lock may not be a restart's: a hostile service, which can read its pidfile, can lock it
    // for readers, and some programs lock the whole of a file that they write.
    if i32::from(held.l_type) == libc::F_RDLCK {
        return Err(io::Error::other(
            "a process that may only read the pidfile has locked it",
        ));
    }
    if i32::from(held.l_type) == libc::F_WRLCK && held.l_start != asked {
        return Err(io::Error::other("another program has locked the pidfile"));
    }
    Ok(false)
}
