//! The restarter's side: R, and N before it owns the service.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use super::service::remove_socket_at;
use super::{CONTROL, Call, NEW_CONTROL, PATIENCE, PAUSE, beside, call, locked, receive, send, word};
use crate::control::{Control, Instance};
use crate::error::Error;
use crate::inherited::retry;
use crate::manager::Listener;
use crate::pidfile;
use crate::trusted::{Place, ReadyPath, same_file};

/// How long after its last word the end of the old instance may take to be seen.
const ENDING: Duration = Duration::from_millis(100);

static TAKEOVER: Mutex<Option<Takeover>> = Mutex::new(None);
/// In R: the pidfile, to write to; also the restart lock, which ends with it.
static RESTARTING: Mutex<Option<File>> = Mutex::new(None);

/// A hand-over under way.
struct Takeover {
    /// To O.
    connection: OwnedFd,
    path: PathBuf,
    /// From R to N.
    go_read: Option<File>,
    go_write: Option<File>,
}

fn takeover() -> MutexGuard<'static, Option<Takeover>> {
    locked(&TAKEOVER)
}

/// Where a new instance binds its socket: in a restart the old one's is still there.
pub(super) fn socket_path(pidfile: &Path) -> PathBuf {
    beside(pidfile, if takeover().is_some() { NEW_CONTROL } else { CONTROL })
}

/// Whether this process holds the restart lock.
pub(crate) fn is_restart() -> bool {
    locked(&RESTARTING).is_some()
}

/// Whether an older instance owns the service until this start is committed.
pub(crate) fn is_under_way() -> bool {
    takeover().is_some()
}

/// Begins a restart where there is something to restart: by handing over if the running instance can, and else by
/// ending it first.
pub(crate) fn prepare_restart(path: &Path, patience: Duration) -> Result<(), Error> {
    let control = Control::new(path);
    let during = |error| Error::control(format!("{}: restart", path.display()), error);
    // Looked at before as well: a file that is not to be trusted is not locked either.
    while control.instance()?.is_some() {
        let Some(pidfile) = lock_restart(path).map_err(during)? else { continue };
        // The instance that is to be replaced is the one that runs now, after other restarts.
        if let Some(instance) = control.instance()? {
            if !take_over(path, &instance, &pidfile).map_err(during)? {
                control.stop(patience)?;
            }
        }
        *locked(&RESTARTING) = Some(pidfile);
        break;
    }
    Ok(())
}

/// In R: takes over lock and listeners of the instance that runs. `false` if it cannot hand over.
fn take_over(path: &Path, instance: &Instance, pidfile: &File) -> io::Result<bool> {
    let Call::Answered(connection, found) = call(path, instance, PATIENCE)? else { return Ok(false) };
    // Where it belongs, should the last restarter have been killed before it could do that.
    Place::of(&beside(path, CONTROL))?.rename_from(found.file_name().unwrap_or_default())?;
    let (names, fds) = match send(&connection, word::HAND_OVER, &[]).and_then(|()| receive(&connection, Some(PATIENCE)))
    {
        // It has just died, and has nothing to hand over any more.
        Err(_) if instance.ends_within(ENDING)? => return Ok(false),
        answer => answer?,
    };
    let names = String::from_utf8_lossy(&names).into_owned();
    let names: Vec<&str> = names.split('\n').collect();
    let count = fds.len();
    let mut fds = fds.into_iter();
    let Some(lock) = fds.next() else { return Ok(false) };
    if count != 1 + names.len() {
        return Err(io::Error::other("not all of the sockets have arrived: is the limit on open files too low?"));
    }
    if !same_file(&fstat(&lock)?, &fstat(pidfile)?) {
        return Err(io::Error::other("the running instance has another pidfile locked"));
    }
    crate::manager::pass(names.into_iter().zip(fds).map(|(name, fd)| Listener::passed(name, fd)).collect());
    pidfile::take_over(path, lock)?;
    let (go_read, go_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (go_read, go_write) = (Some(go_read.into()), Some(go_write.into()));
    *takeover() = Some(Takeover { connection, path: path.to_owned(), go_read, go_write });
    Ok(true)
}

/// One restart at a time. An open-file-description lock on one byte has nothing to do with the flock(2) of the file. `None` if
/// the file is not there any more when the lock is had.
fn lock_restart(path: &Path) -> io::Result<Option<File>> {
    let place = Place::of(path)?;
    let (pidfile, found) = match place.open(OFlag::O_RDWR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut held = pidfile::restart_lock();
    fcntl(&pidfile, FcntlArg::F_OFD_GETLK(&mut held))?;
    if i32::from(held.l_type) == libc::F_RDLCK {
        // No restart's: a service that has turned hostile can read its pidfile, and so lock it for readers.
        return Err(io::Error::other("somebody who may only read the pidfile has locked it"));
    }
    let range = pidfile::restart_lock();
    retry(|| fcntl(&pidfile, FcntlArg::F_OFD_SETLKW(&range)))?;
    Ok(place.still_is(&found)?.then(|| pidfile.into()))
}

/// In N, after the fork: gives up R's ends, and with them the restart lock.
pub(crate) fn keep_daemons_end() {
    *locked(&RESTARTING) = None;
    if let Some(takeover) = takeover().as_mut() {
        takeover.go_write = None;
    }
}

/// In R: N is ready. From the write on N owns the service, whatever happens to R.
pub(crate) fn commit(new: Pid) -> io::Result<()> {
    let (mut takeover, restarting) = (takeover(), locked(&RESTARTING));
    let (Some(under_way), Some(pidfile)) = (takeover.as_mut(), restarting.as_ref()) else { return Ok(()) };
    // Nothing but the renaming itself can fail afterwards.
    let (socket, new_socket) = (beside(&under_way.path, CONTROL), beside(&under_way.path, NEW_CONTROL));
    let place = Place::of(&socket)?;
    let line = format!("{new}\n");
    pidfile.write_all_at(line.as_bytes(), 0)?;
    if fstat(pidfile).is_ok_and(|file| file.st_nlink == 0) {
        return Err(io::Error::other("the older instance has ended, and has removed the pidfile"));
    }
    // From here on there is no way back, and what fails is made up for by N, which finds its pid in the file.
    _ = pidfile.set_len(line.len() as u64);
    _ = place.rename_from(new_socket.file_name().unwrap_or_default());
    _ = send(&under_way.connection, word::COMMIT, &[]);
    if let Some(mut go) = under_way.go_write.take() {
        _ = go.write_all(b"G");
    }
    Ok(())
}

/// In a starter whose daemon has failed: removes the control socket that it may have left. In a restart the old
/// instance goes on, and has its own.
pub(crate) fn clean_up(pidfile: &Path) {
    let path = socket_path(pidfile);
    let removed = || Place::of(&path).is_ok_and(|place| matches!(place.remove(), Ok(()) | Err(Errno::ENOENT)));
    // Where others have a hand in the directory, it stays. Any other failure is worth another try: nobody else will.
    _ = removed() || removed();
}

/// Whether R says that it has committed, before it is gone.
fn hears_go(mut from_restarter: File) -> bool {
    loop {
        match from_restarter.read(&mut [0]) {
            Ok(length) => return length > 0,
            // That says nothing of R, but the pidfile does.
            Err(_) if pidfile::names_this_process() => return false,
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// In N: ready, it waits until R has committed; `false` if R is gone and has not.
pub(crate) fn await_go() -> bool {
    let Some(takeover) = takeover().take() else { return true };
    if !takeover.go_read.is_some_and(hears_go) {
        if !pidfile::names_this_process() {
            if let Ok(path) = ReadyPath::new(&beside(&takeover.path, NEW_CONTROL)) {
                remove_socket_at(&path);
            }
            return false;
        }
        _ = send(&takeover.connection, word::COMMIT, &[]);
    }
    pidfile::own();
    true
}
