//! The control socket of a running service, and the restart that loses no connection: the old instance hands its
//! sockets and its lock to the new one, which is ready before the old one stops accepting.
//!
//! R is the process that runs `restart`, O the old instance, N the new one.
//!
//! 1. R takes the restart lock, connects to O's control socket, and makes sure that it is O's.
//! 2. O sends the descriptor that holds the pidfile's lock, and its listeners. The lock now has two owners, and is
//!    never free.
//! 3. R forks N: the normal start, but for the lock. N's hooks get the listeners. N says READY, and accepts nothing.
//! 4. R commits, by one pwrite(2) of N's pid into the pidfile. That line alone decides who owns the service. Then it
//!    renames N's control socket into place.
//! 5. R tells O, which finishes its open requests and ends, and N, which goes on.
//!
//! With no word, because R is gone, N goes on if the pidfile names it, and tells O then; else it ends. O goes on unless
//! the pidfile names another.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect,
    getsockopt, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::stat::{FileStat, Mode, fstat, umask};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, geteuid, getpid};

use crate::control::{Control, Instance};
use crate::detach::Step;
use crate::error::{During, Error};
use crate::inherited::retry;
use crate::manager::Listener;
use crate::trusted::{Place, remove_known, same_file};
use crate::{pidfile, reload, shutdown, sys};

/// What is asked for, and answered, over the control socket.
mod word {
    pub(super) const RELOAD: &[u8] = b"reload";
    pub(super) const RELOADED: &[u8] = b"reloaded";
    /// The service handles SIGHUP itself.
    pub(super) const SIGNAL: &[u8] = b"signal";
    pub(super) const CANNOT: &[u8] = b"cannot";
    pub(super) const HAND_OVER: &[u8] = b"hand over";
    pub(super) const COMMIT: &[u8] = b"commit";
}

const CONTROL: &str = ".control";
const NEW_CONTROL: &str = ".control.new";
/// As many as one message can carry.
const MOST_DESCRIPTORS: usize = 253;
/// How long the old instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after its last word its end may take to be seen.
const ENDING: Duration = Duration::from_millis(100);
/// How long to wait before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(1);

// The service's side

static SOCKET: OnceLock<ControlSocket> = OnceLock::new();

/// Bound before privileges are dropped; it listens when the service is about to be ready.
struct ControlSocket {
    socket: UnixListener,
    path: PathBuf,
    file: FileStat,
    directory: FileStat,
    /// Copies of what the service listens on.
    listeners: Mutex<Vec<(String, OwnedFd)>>,
    /// Begins to listen; a pointer for the reason that `Daemon` gives.
    answer: fn(&'static ControlSocket) -> io::Result<()>,
}

/// Binds the control socket beside the pidfile, which this process holds.
pub(crate) fn bind_socket(pidfile: &Path) -> Result<(), Error> {
    let path = socket_path(pidfile);
    let made = || -> io::Result<ControlSocket> {
        let place = Place::of(&path)?;
        // Whoever left it there does not hold the lock any more.
        if place.look().is_ok() {
            place.remove()?;
        }
        let directory = place.directory()?;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        let by_path = UnixAddr::new(&path)?;
        // The name may be too long for this.
        let by_descriptor = UnixAddr::new(&place.by_descriptor()).unwrap_or(by_path);
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = match bind(socket.as_raw_fd(), &by_descriptor) {
            // There is no /proc.
            Err(Errno::ENOENT) => bind(socket.as_raw_fd(), &by_path),
            result => result,
        };
        umask(before);
        bound?;
        let file = place.look().inspect_err(|_| _ = place.remove())?;
        let (socket, path) = (socket.into(), beside(pidfile, CONTROL));
        Ok(ControlSocket { socket, path, file, directory, listeners: Mutex::default(), answer: begin_to_answer })
    };
    let made = made().during(Step::WritePidfile, path.display())?;
    _ = SOCKET.set(made);
    Ok(())
}

/// Where a new instance binds its socket: in a restart the old one's is still there.
fn socket_path(pidfile: &Path) -> PathBuf {
    beside(pidfile, if takeover().is_some() { NEW_CONTROL } else { CONTROL })
}

fn beside(pidfile: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(pidfile);
    path.push(ending);
    path.into()
}

/// Whether the pidfile is, or is about to be, another instance's: a restart is under way, or is over and this process has
/// not heard of it yet. Only what signal-safety(7) allows is called here.
pub(crate) fn is_passed_on(lock: BorrowedFd<'_>) -> bool {
    let mut range = whole_file();
    let mut is_locked =
        |lock| fcntl(lock, FcntlArg::F_OFD_GETLK(&mut range)).is_ok() && i32::from(range.l_type) != libc::F_UNLCK;
    SOCKET.get().is_some() && (is_locked(lock) || !pidfile::names_this_process())
}

/// Removes the control socket, if it is this process's. Only what signal-safety(7) allows is called here.
pub(crate) fn remove_socket() {
    if let Some(control) = SOCKET.get() {
        remove_socket_at(&control.path);
    }
}

fn remove_socket_at(path: &Path) {
    if let Some(control) = SOCKET.get() {
        remove_known(path, &control.directory, &control.file);
    }
}

/// Keeps a copy of a socket on which the service listens, to hand it over one day.
pub(crate) fn keep_listener(name: &str, socket: BorrowedFd<'_>) -> Result<(), Error> {
    let Some(control) = SOCKET.get() else { return Ok(()) };
    let copy = socket.try_clone_to_owned().map_err(|error| Error::opening(format!("a copy of {name}"), error))?;
    locked(&control.listeners).push((name.to_owned(), copy));
    Ok(())
}

/// The service is about to be ready: from now on a thread answers on the control socket.
pub(crate) fn answer_calls() -> Result<(), Error> {
    let Some(control) = SOCKET.get() else { return Ok(()) };
    (control.answer)(control).during(Step::Notify, control.path.display())
}

fn begin_to_answer(control: &'static ControlSocket) -> io::Result<()> {
    listen(&control.socket, Backlog::new(8)?)?;
    // One that is blocked waits for sigwait(3) or signalfd(2).
    let hangup_waits = SigSet::thread_get_mask()?.contains(Signal::SIGHUP);
    spawn(move || answer_all(control, hangup_waits))
}

/// Runs this in a thread that takes none of the service's signals.
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let deaf = || {
        _ = SigSet::all().thread_block();
        work();
    };
    std::thread::Builder::new().name("control".to_owned()).spawn(deaf).map(drop)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer_all(control: &'static ControlSocket, hangup_waits: bool) {
    loop {
        match control.socket.accept() {
            // Each in a thread of its own: a reload that takes long must not keep a restart waiting. Whatever is wrong
            // with one caller is nothing to the others, nor to the service.
            Ok((caller, _)) => _ = spawn(move || _ = answer(control, &caller.into(), hangup_waits)),
            // No descriptor is left, say: wait for one.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(control: &ControlSocket, connection: &OwnedFd, hangup_waits: bool) -> io::Result<()> {
    let peer = getsockopt(connection, sockopt::PeerCredentials)?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Ok(());
    }
    match receive(connection, Some(PATIENCE))?.0.as_slice() {
        word::RELOAD if reload::reload_and_wait() => send(connection, word::RELOADED, &[]),
        word::RELOAD if !hangup_waits && shutdown::ends_by(libc::SIGHUP) => send(connection, word::CANNOT, &[]),
        word::RELOAD => send(connection, word::SIGNAL, &[]),
        word::HAND_OVER => hand_over(control, connection, Pid::from_raw(peer.pid())),
        _ => Ok(()),
    }
}

/// O's side of the restart. Whatever goes wrong, the pidfile says whether this process still owns the service.
fn hand_over(control: &ControlSocket, connection: &OwnedFd, restarter: Pid) -> io::Result<()> {
    let restarter = sys::pidfd_open(restarter);
    let Some(lock) = pidfile::lock_descriptor() else { return send(connection, word::CANNOT, &[]) };
    {
        let listeners = locked(&control.listeners);
        let names: Vec<&str> = listeners.iter().map(|(name, _)| name.as_str()).collect();
        let fds: Vec<BorrowedFd<'_>> =
            std::iter::once(lock).chain(listeners.iter().map(|(_, fd)| fd.as_fd())).collect();
        // A service that has made its listeners itself has to end before another can make them.
        if listeners.is_empty() || fds.len() > MOST_DESCRIPTORS {
            return send(connection, word::CANNOT, &[]);
        }
        send(connection, names.join("\n").as_bytes(), &fds)?;
    }
    if hears_commit(connection, lock) {
        pidfile::disown();
        locked(&control.listeners).clear();
        // N is R's child until R has ended. A manager that sees this process end before would take N for a stranger.
        if let Ok(restarter) = restarter {
            let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            _ = retry(|| poll(&mut [PollFd::new(restarter.as_fd(), PollFlags::POLLIN)], patience));
        }
        // As an administrator would: the service finishes what it has begun.
        kill(getpid(), Signal::SIGTERM)?;
    }
    Ok(())
}

/// Whether R says that it has committed, or the pidfile does when R is gone, and N with it.
fn hears_commit(connection: &OwnedFd, pidfile: BorrowedFd<'_>) -> bool {
    let names_another = || pidfile::read_pid(pidfile).is_ok_and(|named| named.is_some_and(|pid| pid != getpid()));
    loop {
        let heard = receive(connection, None);
        if heard.as_ref().is_ok_and(|(text, _)| text == word::COMMIT) || names_another() {
            return true;
        }
        if heard.is_ok() {
            return false;
        }
        // That says nothing of R.
        std::thread::sleep(PAUSE);
    }
}

// The side of whoever controls the service

/// Has the service reload, and waits until it has; `false` if that takes a signal, and nobody says when it is done.
pub(crate) fn ask_to_reload(pidfile: &Path, instance: &Instance, patience: Duration) -> io::Result<bool> {
    let began = Instant::now();
    let connection = match call(pidfile, instance, patience)? {
        Call::Answered(connection, _) => connection,
        Call::NotYet => return Err(io::Error::other("it is not ready yet")),
        Call::Another => return Err(io::Error::other("its control socket is another process's")),
        Call::Nobody => return Ok(false),
    };
    send(&connection, word::RELOAD, &[])?;
    let left = patience.saturating_sub(began.elapsed());
    match receive(&connection, Some(left))?.0.as_slice() {
        word::RELOADED => Ok(true),
        word::SIGNAL => Ok(false),
        word::CANNOT => Err(io::Error::other("it does not reload: SIGHUP would end it")),
        _ => Err(io::Error::other("it has ended, or does not answer")),
    }
}

/// Who answers on the control socket.
enum Call {
    /// The instance, at this path.
    Answered(OwnedFd, PathBuf),
    /// The instance will, when it is ready.
    NotYet,
    /// Another process.
    Another,
    Nobody,
}

/// Calls the instance, also where its socket is after a restart that is not quite over.
fn call(pidfile: &Path, instance: &Instance, patience: Duration) -> io::Result<Call> {
    match call_at(beside(pidfile, CONTROL), instance, patience)? {
        answered @ Call::Answered(..) => Ok(answered),
        other => match call_at(beside(pidfile, NEW_CONTROL), instance, patience)? {
            answered @ Call::Answered(..) => Ok(answered),
            _ => Ok(other),
        },
    }
}

/// Connects to a control socket, and makes sure that it is the instance's.
fn call_at(path: PathBuf, instance: &Instance, patience: Duration) -> io::Result<Call> {
    let connection = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    // One that accepts nobody would keep the caller waiting for ever, which is also what no time at all would mean.
    let limit = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX).max(1);
    setsockopt(&connection, sockopt::SendTimeout, &TimeVal::milliseconds(limit))?;
    let address = UnixAddr::new(&path)?;
    match retry(|| connect(connection.as_raw_fd(), &address)) {
        Ok(()) => {}
        Err(Errno::EAGAIN) => return Err(no_answer()),
        Err(Errno::ECONNREFUSED) => return Ok(Call::NotYet),
        Err(Errno::ENOENT | Errno::EPROTOTYPE) => return Ok(Call::Nobody),
        Err(error) => return Err(error.into()),
    }
    let peer = getsockopt(&connection, sockopt::PeerCredentials)?;
    Ok(if peer.pid() == instance.pid.as_raw() { Call::Answered(connection, path) } else { Call::Another })
}

/// Whether a service accepts nobody, or accepts and says nothing, is all the same to who waits.
fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has not answered in time")
}

fn send(connection: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    sendmsg::<()>(connection.as_raw_fd(), &[IoSlice::new(text)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message, with the descriptors that come with it; an empty one is the end.
fn receive(connection: &OwnedFd, patience: Option<Duration>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let timeout = patience.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
    if retry(|| poll(&mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)], timeout))? == 0 {
        return Err(no_answer());
    }
    let mut text = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(connection.as_raw_fd(), &mut buffers, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(passed) = control {
            fds.extend(passed.into_iter().map(sys::adopt).collect::<io::Result<Vec<_>>>()?);
        }
    }
    let length = message.bytes;
    text.truncate(length);
    Ok((text, fds))
}

// R and N

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

/// The whole of a file, to be locked by one.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK.try_into().unwrap_or(1),
        l_whence: libc::SEEK_SET.try_into().unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// One restart at a time. An open-file-description lock on the pidfile has nothing to do with its flock(2). `None` if
/// the file is not there any more when the lock is had.
fn lock_restart(path: &Path) -> io::Result<Option<File>> {
    let place = Place::of(path)?;
    let (pidfile, found) = match place.open(OFlag::O_RDWR) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut held = whole_file();
    fcntl(&pidfile, FcntlArg::F_OFD_GETLK(&mut held))?;
    if i32::from(held.l_type) == libc::F_RDLCK {
        // No restart's: a service that has turned hostile can read its pidfile, and so lock it for readers.
        return Err(io::Error::other("somebody who may only read the pidfile has locked it"));
    }
    let range = whole_file();
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
            remove_socket_at(&beside(&takeover.path, NEW_CONTROL));
            return false;
        }
        _ = send(&takeover.connection, word::COMMIT, &[]);
    }
    pidfile::own();
    true
}
