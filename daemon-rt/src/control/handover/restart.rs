//! The restarter's side: R, and N before it owns the service.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, read};

use super::ending::Old;
use super::lock::lock_restart;
use super::message::read_sockets;
use super::{Call, PATIENCE, PAUSE, call, left, locked, receive, send, word};
use crate::control::instance::{self, Instance};
use crate::error::{During, Error};
use crate::manager::activation::PassedFd;
use crate::service::listen;
use crate::step::Step;
use crate::steps::pidfile;
use crate::steps::pidfile::socket::{CONTROL, NEW_CONTROL, beside};
use crate::sys::kept::Kept;
use crate::sys::safe_open::{ReadyPath, SafePath, same_file};
use crate::sys::{self, proc};

/// How long after its last word the end of the old instance may take to be seen.
const ENDING: Duration = Duration::from_millis(100);
/// No service has as many sockets.
const MOST_SOCKETS: usize = 1 << 16;

static TAKEOVER: Mutex<Option<Takeover>> = Mutex::new(None);
/// In R: the pidfile, to write to; also the restart lock, which ends with it.
static RESTARTING: Mutex<Option<File>> = Mutex::new(None);

/// What came from an instance that could not hand over, until it can be closed.
static LEFT_OPEN: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// A hand-over under way.
struct Takeover {
    /// To O.
    connection: Kept,
    path: PathBuf,
    /// From R to N.
    go_read: Option<Kept>,
    go_write: Option<File>,
    old: Old,
    /// R has to end before O.
    ends_first: bool,
}

fn takeover() -> MutexGuard<'static, Option<Takeover>> {
    locked(&TAKEOVER)
}

/// Where a new instance binds its socket: in a restart the old one's is still there.
pub(super) fn socket_path(pidfile: &Path) -> PathBuf {
    beside(
        pidfile,
        if takeover().is_some() {
            NEW_CONTROL
        } else {
            CONTROL
        },
    )
}

/// Whether this process holds the restart lock.
pub(crate) fn is_restart() -> bool {
    locked(&RESTARTING).is_some()
}

/// Whether an older instance owns the service until this start is committed.
pub(crate) fn is_under_way() -> bool {
    takeover().is_some()
}

/// Begins a restart where there is something to restart: by handing over if the running instance
/// can, and else by ending it first.
pub(crate) fn prepare_restart(path: &Path, patience: Duration) -> Result<(), Error> {
    let during = |error| Error::control(path.display().to_string(), error);
    // Looked at before as well: a file that is not to be trusted is not locked either.
    while let Some(seen) = Instance::of(path)? {
        let Some(pidfile) = lock_restart(path).map_err(during)? else {
            // It is about to end, or somebody has removed its pidfile.
            instance::end(path, patience)?;
            continue;
        };
        // The instance that is to be replaced is the one that runs now, after other restarts.
        if let Some(instance) = Instance::of(path)? {
            let instance = if is_better_known(&seen, &instance).map_err(during)? {
                seen
            } else {
                instance
            };
            if !take_over(path, instance, &pidfile, patience).map_err(during)? {
                instance::end(path, patience)?;
            }
        }
        *locked(&RESTARTING) = Some(pidfile);
        break;
    }
    Ok(())
}

/// The same process, of which a pidfd could be had before, and now cannot.
fn is_better_known(seen: &Instance, now: &Instance) -> io::Result<bool> {
    Ok(seen.has_pidfd()
        && !now.has_pidfd()
        && seen.pid == now.pid
        && !seen.ends_within(Duration::ZERO)?)
}

/// In R: takes over lock and sockets of the instance that runs. `false` if it cannot hand over: it
/// has no control socket, or is suspended, or hangs.
fn take_over(
    path: &Path,
    instance: Instance,
    pidfile: &File,
    patience: Duration,
) -> io::Result<bool> {
    // What a suspended process would answer, it will when it is told to continue, which `stop`
    // does.
    if proc::is_suspended(instance.pid) || !instance.has_pidfd() {
        return Ok(false);
    }
    let (connection, found) = match call(path, &instance, PATIENCE) {
        Ok(Call::Answered(connection, found)) => (connection, found),
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(false),
        Err(error) => return Err(error),
    };
    // Where it belongs, should the last restarter have been killed before it could do that.
    SafePath::of(&beside(path, CONTROL))?.rename_from(found.file_name().unwrap_or_default())?;
    let mut received = Vec::new();
    let sockets = match ask_for_sockets(&connection, &mut received) {
        Ok(Some(sockets)) => sockets,
        other => {
            leave(connection, received, pidfile)?;
            return match other {
                Err(error)
                    if error.kind() != io::ErrorKind::TimedOut
                        && !instance.ends_within(ENDING)? =>
                {
                    Err(error)
                }
                // It hangs, or has just died and has nothing to hand over any more.
                _ => Ok(false),
            };
        }
    };
    let mut received = received.into_iter();
    let Some(lock) = received.next() else {
        return Ok(false);
    };
    if !same_file(&fstat(&lock)?, &fstat(pidfile)?) {
        return Err(io::Error::other(
            "the running instance has another pidfile locked",
        ));
    }
    // To take it once more by a copy of the descriptor changes nothing; by any other it is refused.
    if sys::try_lock(lock.as_fd()) == Err(Errno::EWOULDBLOCK) {
        return Err(io::Error::other(
            "the running instance has not handed over the lock",
        ));
    }
    let passed = sockets
        .into_iter()
        .zip(received)
        .map(|((origin, name), fd)| (origin, PassedFd { name, fd }));
    listen::pass(passed.inspect(|passed| sys::disarm(&passed.1.fd)));
    pidfile::take_over(path, lock)?;
    let (go_read, go_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let (go_read, go_write) = (Some(Kept::new(go_read)?), Some(go_write.into()));
    let connection = Kept::new(connection)?;
    let ends_first = is_managers_command(instance.pid);
    let old = Old { instance, patience };
    *takeover() = Some(Takeover {
        connection,
        path: path.to_owned(),
        go_read,
        go_write,
        old,
        ends_first,
    });
    Ok(true)
}

/// Ends the conversation with an instance that cannot hand over.
fn leave(connection: OwnedFd, mut received: Vec<OwnedFd>, pidfile: &File) -> io::Result<()> {
    // One that hangs may answer yet, while it is stopped.
    _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
    while let Ok(message) = receive(&connection, Some(Duration::ZERO)) {
        if message.text.is_empty() && message.fds.is_empty() {
            break;
        }
        received.extend(message.fds);
    }
    // A copy of the lock would keep the new instance from starting.
    let pidfile = fstat(pidfile)?;
    received.retain(|fd| !fstat(fd).is_ok_and(|found| same_file(&found, &pidfile)));
    // To close the others may take a thread, and this process must have no second one before it
    // forks.
    received.push(connection);
    locked(&LEFT_OPEN).append(&mut received);
    Ok(())
}

/// Whether a manager runs this command for its main process, as systemd does `ExecReload=`. When
/// the old instance ends, it takes the one that the pidfile names for the new main process; a child
/// of this command's would be a stranger.
fn is_managers_command(main: Pid) -> bool {
    std::env::var("MAINPID").is_ok_and(|pid| pid == main.to_string())
}

/// Has O send the descriptor that holds the lock, and its sockets after it. `None` if it cannot.
fn ask_for_sockets(
    connection: &OwnedFd,
    received: &mut Vec<OwnedFd>,
) -> io::Result<Option<Vec<(listen::Origin, String)>>> {
    let began = Instant::now();
    let mut sockets = Vec::new();
    let mut ask = word::HAND_OVER;
    loop {
        send(connection, ask, &[])?;
        let message = receive(connection, Some(left(began, PATIENCE)))?;
        let before = received.len();
        received.extend(message.fds);
        // An instance of another version does not know the word, and says nothing.
        if ask == word::HAND_OVER && (message.text.is_empty() || message.text == word::CANNOT) {
            return Ok(None);
        }
        let Some((total, here)) =
            read_sockets(&message.text).filter(|&(total, _)| total <= MOST_SOCKETS)
        else {
            return Err(io::Error::other(
                "the running instance does not speak the protocol",
            ));
        };
        let due = here.len() + usize::from(ask == word::HAND_OVER);
        sockets.extend(here);
        if received.len() < before + due {
            return Err(too_few_descriptors(total));
        }
        if received.len() > before + due
            || (due == 0 && sockets.len() < total)
            || sockets.len() > total
        {
            return Err(io::Error::other(
                "the running instance does not speak the protocol",
            ));
        }
        if sockets.len() == total {
            return Ok(Some(sockets));
        }
        ask = word::MORE;
    }
}

fn too_few_descriptors(sockets: usize) -> io::Error {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) => format!(" ({soft})"),
        Err(_) => String::new(),
    };
    let problem = format!(
        "the limit on open files{limit} is too low for the {sockets} sockets of the running instance"
    );
    io::Error::other(problem)
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
    let (Some(under_way), Some(pidfile)) = (takeover.as_mut(), restarting.as_ref()) else {
        return Ok(());
    };
    // Nothing but the renaming itself can fail afterwards.
    let (socket, new_socket) = (
        beside(&under_way.path, CONTROL),
        beside(&under_way.path, NEW_CONTROL),
    );
    let place = SafePath::of(&socket)?;
    let line = format!("{new}\n");
    pidfile.write_all_at(line.as_bytes(), 0)?;
    if fstat(pidfile).is_ok_and(|file| file.st_nlink == 0) {
        return Err(io::Error::other(
            "the older instance has ended, and has removed the pidfile",
        ));
    }
    // From here on there is no way back, and what fails is made up for by N, which finds its pid in
    // the file.
    _ = pidfile.set_len(line.len() as u64);
    _ = place.rename_from(new_socket.file_name().unwrap_or_default());
    let commit = if under_way.ends_first {
        word::COMMIT_AFTER_ME
    } else {
        word::COMMIT
    };
    // The old instance cannot open the file itself any more. By this descriptor it says for how
    // long it lives on.
    let mark = SafePath::of(&under_way.path).and_then(|pidfile| pidfile.open(OFlag::O_RDONLY));
    let mark = match &mark {
        Ok((mark, _)) => &[mark.as_fd()][..],
        Err(_) => &[],
    };
    _ = under_way
        .connection
        .get()
        .and_then(|old| send(old, commit, mark));
    if let Some(mut go) = under_way.go_write.take() {
        _ = go.write_all(b"G");
    }
    Ok(())
}

/// In R, when all else is done: waits for the end of the old instance, and has it end when the time
/// is up; what there is to say of it.
pub(crate) fn see_off() -> Option<String> {
    // The next restart need not wait for that.
    *locked(&RESTARTING) = None;
    let Takeover {
        old,
        ends_first: false,
        ..
    } = takeover().take()?
    else {
        return None;
    };
    old.end_within(old.patience)
}

/// In a starter whose daemon has failed: removes the control socket that it may have left. In a
/// restart the old instance goes on, and has its own.
pub(crate) fn clean_up(pidfile: &Path) {
    let path = socket_path(pidfile);
    let removed = || {
        SafePath::of(&path).is_ok_and(|place| matches!(place.remove(), Ok(()) | Err(Errno::ENOENT)))
    };
    // Where others have a hand in the directory, it stays. Any other failure is worth another try:
    // nobody else will.
    if !removed() {
        pidfile::remove_beside(&path);
    }
}

/// Whether R says that it has committed, before it is gone.
fn hears_go(from_restarter: &Kept) -> bool {
    loop {
        match from_restarter
            .get()
            .and_then(|pipe| Ok(read(pipe, &mut [0])?))
        {
            Ok(length) => return length > 0,
            // That says nothing of R, but the pidfile does.
            Err(_) if pidfile::names_this_process() => return false,
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// In N, before it says that it is ready: fails if the service has closed or replaced the
/// descriptors by which it hears of the commit.
pub(crate) fn verify() -> Result<(), Error> {
    if let Some(takeover) = takeover().as_ref() {
        takeover
            .connection
            .get()
            .during(Step::Notify, "the connection to the old instance")?;
        if let Some(go) = &takeover.go_read {
            go.get()
                .during(Step::Notify, "the pipe from the restarter")?;
        }
    }
    Ok(())
}

/// In N: ready, it waits until R has committed; `false` if R is gone and has not.
pub(crate) fn await_go() -> bool {
    sys::close_aside(std::mem::take(&mut *locked(&LEFT_OPEN)));
    let Some(takeover) = takeover().take() else {
        return true;
    };
    if !takeover.go_read.as_ref().is_some_and(hears_go) {
        if !pidfile::names_this_process() {
            if let Ok(path) = ReadyPath::new(&beside(&takeover.path, NEW_CONTROL)) {
                pidfile::remove_socket_at(&path);
            }
            return false;
        }
        _ = takeover
            .connection
            .get()
            .and_then(|old| send(old, word::COMMIT, &[]));
    }
    pidfile::own();
    takeover.old.watch();
    true
}
