//! The only file with `unsafe`: what neither std nor nix offers as a safe function, one operation a
//! block.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{ForkResult, Gid, Pid, Uid};

use crate::hooks::Service;
use crate::{Daemon, start};

/// The promise that [`Daemon::run`] asks of its caller: this is the first thing that `main` does,
/// so that nothing in this process yet owns a descriptor above 2, relies on the environment's
/// memory, or runs beside this thread.
pub(crate) struct StartOfMain(());

impl Daemon {
    /// Starts the service and runs it to its end: the whole of `main`.
    ///
    /// In the process that the person started it returns only if the service stays in the
    /// foreground; otherwise that process ends here, when the daemon is ready or has failed, with
    /// the status that says which. In the daemon it returns the exit status of the main loop, for
    /// `main` to return.
    ///
    /// # Safety
    ///
    /// Call it first thing in `main`, from the main thread: it closes the descriptors that the
    /// process inherited, overwrites the memory of the inherited environment, and forks. What ran
    /// before it must not own a descriptor above 2, must not keep a pointer that getenv(3)
    /// returned, and must have left no other thread running. The attribute `#[daemon]` keeps these
    /// rules by itself.
    pub unsafe fn run<R>(&mut self, service: Service<'_, R>) -> ExitCode {
        start::run(self, service.into_stages(), &StartOfMain(()))
    }
}

// Processes and threads

/// The proof that this process has one thread, so that a fork copies all of it.
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Looks at the number of threads; for a moment again, as one that was joined may linger in the
    /// kernel.
    ///
    /// # Errors
    /// How many threads run, in words.
    pub(crate) fn check() -> Result<Self, String> {
        const LINGER: Duration = Duration::from_millis(10);
        let mut began = None;
        loop {
            match threads() {
                1 => return Ok(Self(())),
                _ if began.get_or_insert_with(Instant::now).elapsed() < LINGER => {
                    std::thread::sleep(LINGER / 20);
                }
                0 => return Err("several threads run".to_owned()),
                several => return Err(format!("{several} threads run")),
            }
        }
    }
}

/// The number of threads; 0 where there are several and nobody tells how many.
#[cfg(target_os = "linux")]
fn threads() -> libc::nlink_t {
    // SAFETY: for CLONE_THREAD unshare(2) changes nothing: it only fails where there is another
    // thread (or where a filter forbids it).
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return 1;
    }
    // A directory has two links of its own and one for each directory in it.
    nix::sys::stat::stat(c"/proc/self/task").map_or(0, |task| task.st_nlink.saturating_sub(2))
}

#[cfg(not(target_os = "linux"))]
fn threads() -> libc::nlink_t {
    1
}

#[inline]
pub(crate) fn fork(_alone: &SingleThreaded) -> nix::Result<ForkResult> {
    // SAFETY: the only thread calls fork, so that no lock (allocator, stdio) is held by a thread
    // that the child lacks, and the child may do whatever its parent could.
    unsafe { nix::unistd::fork() }
}

/// Ends the process at once: no destructor, no atexit(3) handler, which are the daemon's to run,
/// and no flush.
pub(crate) fn exit_now(status: u8) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// Has `function` called at exit(3): by std at the end of `main`, or by `std::process::exit`
/// anywhere.
pub(crate) fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is a plain one of this library, which is never unloaded while its
    // program runs.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Writes out what C code has buffered on its streams, so that a fork does not double it.
pub(crate) fn flush_c_streams() {
    // SAFETY: fflush(3) takes a null pointer to mean all open output streams.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(u8),
    Killed { signal: c_int, core: bool },
}

/// How the child `pid` ended; `None` if it has not. `reap` takes the zombie away, `block` waits for
/// the end.
pub(crate) fn wait(pid: Pid, reap: bool, block: bool) -> nix::Result<Option<End>> {
    let options = libc::WEXITED
        | if reap { 0 } else { libc::WNOWAIT }
        | if block { 0 } else { libc::WNOHANG };
    wait_for(
        libc::P_PID,
        libc::id_t::try_from(pid.as_raw()).unwrap_or(0),
        options,
    )
    .map(|ended| ended.map(|(_, end)| end))
}

/// Whether a process is a child of this one, running or not.
pub(crate) fn is_child(pid: Pid) -> bool {
    wait(pid, false, false).is_ok()
}

/// Takes away the zombie of some child that has ended, if there is one.
pub(crate) fn reap_any() -> Option<(Pid, End)> {
    wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG)
        .ok()
        .flatten()
}

/// Reaps one of a process group that has ended, if any has; `false` where nobody in it is a child
/// of this process.
pub(crate) fn reap_of_group(group: Pid) -> bool {
    let group = libc::id_t::try_from(group.as_raw()).unwrap_or(0);
    wait_for(libc::P_PGID, group, libc::WEXITED | libc::WNOHANG).is_ok()
}

fn wait_for(
    which: libc::idtype_t,
    id: libc::id_t,
    options: c_int,
) -> nix::Result<Option<(Pid, End)>> {
    // SAFETY: all zeros are a valid siginfo_t, whose pid 0 says that there was nothing to report.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    loop {
        // SAFETY: `info` is writable and of the right type.
        let result = unsafe { libc::waitid(which, id, &raw mut info, options) };
        match Errno::result(result) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    // SAFETY: waitid(2) has filled in the fields of a SIGCHLD, or left the zeros.
    let who = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let end = match info.si_code {
        libc::CLD_EXITED => End::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
        code => End::Killed {
            signal: status,
            core: code == libc::CLD_DUMPED,
        },
    };
    Ok((who != 0).then(|| (Pid::from_raw(who), end)))
}

/// Whether this process has a child of any kind, running or not.
pub(crate) fn has_children() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a null pointer tells waitid(2) that the details are not wanted.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, ptr::null_mut(), options) };
    Errno::result(result) != Err(Errno::ECHILD)
}

/// A descriptor that means this one process, whoever may get its number later.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: it was just opened, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).unwrap_or(RawFd::MAX)) })
}

#[cfg(target_os = "linux")]
pub(crate) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: c_int) -> nix::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null pointer stands for the information that kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// The time of day where this process is; `None` if the C library cannot tell.
pub(crate) fn local_time() -> Option<libc::tm> {
    // SAFETY: a null pointer tells time(2) that the result is only returned.
    let now = unsafe { libc::time(ptr::null_mut()) };
    // SAFETY: all zeros are a valid tm.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both outlive the call, and `time` is writable.
    let result = unsafe { libc::localtime_r(&raw const now, &raw mut time) };
    (!result.is_null()).then_some(time)
}

// Descriptors

/// Closes the inherited descriptors `first..=last` in one call, whether or not they are open.
pub(crate) fn close_range(_: &StartOfMain, first: RawFd, last: RawFd) -> nix::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: by the promise nothing in this process owns these descriptors.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        Errno::result(result).map(drop)
    }
    #[cfg(not(target_os = "linux"))]
    {
        _ = (first, last);
        Err(Errno::ENOSYS)
    }
}

/// Closes one inherited descriptor; that it is not open is no error.
pub(crate) fn close(_: &StartOfMain, fd: RawFd) {
    // SAFETY: by the promise nothing in this process owns this descriptor.
    unsafe { libc::close(fd) };
}

/// A descriptor that is looked at, not owned: whether it is open at all is for the caller's next
/// call to find out.
pub(crate) fn peek<'a>(fd: RawFd) -> BorrowedFd<'a> {
    assert!(fd >= 0, "a descriptor is never negative");
    // SAFETY: not -1, the one value that the type excludes. The callers only ask fstat(2), poll(2)
    // and fcntl(2), which report a closed descriptor as EBADF or POLLNVAL.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Has a descriptor lead where standard input leads, and so lets go of what it led to; it stays
/// open for its owner.
#[cfg(target_os = "linux")]
pub(crate) fn let_go(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both are plain numbers, of descriptors that are open and stay so; dup3(2) exchanges
    // in one step.
    Errno::result(unsafe { libc::dup3(libc::STDIN_FILENO, fd.as_raw_fd(), libc::O_CLOEXEC) })
        .map(drop)
}

/// Takes over an inherited descriptor that the environment names, to be closed on exec.
pub(crate) fn adopt_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // Fails where it is not open.
    let flags = FdFlag::from_bits_retain(fcntl(peek(fd), FcntlArg::F_GETFD)?);
    // exec(2) would have closed it: it is this process's own, or was taken over for another
    // variable.
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return Err(io::Error::other(
            "it is not an inherited descriptor, or another variable names it as well",
        ));
    }
    fcntl(peek(fd), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, was inherited, and the environment passes it on for this process to own.
    // No one else does: what is taken over here gets the flag that was just looked for, and so does
    // what the standard library opens.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that a message has brought.
#[cfg(target_os = "linux")]
pub(crate) fn adopt_received(fd: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has just made it for the receiver, which hands it on to no one else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The address family of a socket.
pub(crate) fn socket_family(socket: BorrowedFd<'_>) -> nix::Result<c_int> {
    // SAFETY: all zeros are a valid address of no family.
    let mut address: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&address)).expect("it is small");
    // SAFETY: `address` has room for `length` bytes, and both are writable.
    let result = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(c_int::from(address.ss_family))
}

/// The number that the kernel gives this process as long as the machine runs, and no other process,
/// see pidfd_open(2); `None` before Linux 6.9.
#[cfg(target_os = "linux")]
#[allow(
    clippy::useless_conversion,
    reason = "an inode number has 32 bits on some systems"
)]
pub(crate) fn own_pidfd_id() -> Option<u64> {
    const PIDFS: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x5049_4446);
    let fd = pidfd_open(nix::unistd::getpid()).ok()?;
    // Before, all pidfds shared one inode of another file system.
    let of_pids =
        nix::sys::statfs::fstatfs(&fd).is_ok_and(|found| found.filesystem_type() == PIDFS);
    of_pids
        .then(|| nix::sys::stat::fstat(&fd).ok())
        .flatten()
        .map(|found| u64::from(found.st_ino))
}

#[cfg(not(target_os = "linux"))]
#[allow(
    clippy::useless_conversion,
    reason = "an inode number has 32 bits on some systems"
)]
pub(crate) fn own_pidfd_id() -> Option<u64> {
    None
}

/// Takes the exclusive flock(2) of an open file, which all copies of the descriptor share, without
/// waiting. There is no unlocking: the lock ends with the last copy.
pub(crate) fn try_lock(file: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: flock(2) touches no memory.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    Errno::result(result).map(drop)
}

/// Whether another open file has the exclusive flock(2) of this file: if not, this one shares it
/// for a moment.
#[cfg(target_os = "linux")]
pub(crate) fn is_locked(file: BorrowedFd<'_>) -> nix::Result<bool> {
    // SAFETY: flock(2) touches no memory.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) };
    match Errno::result(result) {
        Err(Errno::EWOULDBLOCK) => return Ok(true),
        result => _ = result?,
    }
    // SAFETY: as above.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
    Errno::result(result).map(|_| false)
}

/// The length of an extended attribute of a file, which is copied to the buffer; ERANGE if it has
/// no room.
#[cfg(target_os = "linux")]
pub(crate) fn attribute(
    file: BorrowedFd<'_>,
    name: &CStr,
    buffer: &mut [u8],
) -> nix::Result<usize> {
    // SAFETY: the name ends with a NUL byte, and the buffer is writable and has this length.
    let length = unsafe {
        libc::fgetxattr(
            file.as_raw_fd(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    Errno::result(length).map(isize::unsigned_abs)
}

/// How many bytes wait to be read from a pipe.
pub(crate) fn unread(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(result)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

// Signals

/// The handler of a signal: it may do only what signal-safety(7) allows.
pub(crate) type Handler = extern "C" fn(c_int);

/// The same with what the kernel tells of the signal, for a handler that has another to call: see
/// [`Previous::call`].
pub(crate) type InformedHandler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// The highest signal number, real-time signals included.
pub(crate) const LAST_SIGNAL: c_int = 64;

pub(crate) fn is_default(signal: c_int) -> bool {
    action(signal).is_ok_and(|action| action.sa_sigaction == libc::SIG_DFL)
}

/// Whether some handler is called at a signal.
#[cfg(target_os = "linux")]
pub(crate) fn is_handled(signal: c_int) -> bool {
    action(signal).is_ok_and(|action| is_function(&action))
}

/// Whether it is this handler that the kernel calls at a signal.
pub(crate) fn is_handled_by(signal: c_int, handler: Handler) -> bool {
    action(signal).is_ok_and(|action| action.sa_sigaction == handler as libc::sighandler_t)
}

/// The same for a handler that takes all arguments.
pub(crate) fn is_handled_by_informed(signal: c_int, handler: InformedHandler) -> bool {
    action(signal).is_ok_and(|action| action.sa_sigaction == handler as libc::sighandler_t)
}

fn is_function(action: &libc::sigaction) -> bool {
    ![libc::SIG_DFL, libc::SIG_IGN, libc::SIG_ERR].contains(&action.sa_sigaction)
}

/// What happens at a signal.
fn action(signal: c_int) -> nix::Result<libc::sigaction> {
    // SAFETY: all zeros are a valid sigaction.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: no new action is given, and `old` is writable.
    let result = unsafe { libc::sigaction(signal, ptr::null(), &raw mut old) };
    Errno::result(result).map(|_| old)
}

/// What happened at a signal before it was changed.
pub(crate) struct Action(libc::sigaction);

/// Has `handler` called at a signal until [`restore`] is called.
pub(crate) fn handle_for_now(signal: c_int, handler: Handler) -> nix::Result<Action> {
    set_action(signal, handler as libc::sighandler_t, 0)
}

/// Puts a signal back to its default action until [`restore`] is called.
pub(crate) fn reset_for_now(signal: c_int) -> nix::Result<Action> {
    set_action(signal, libc::SIG_DFL, 0)
}

/// Puts back what happened at a signal.
#[inline]
pub(crate) fn restore(signal: c_int, Action(old): &Action) -> nix::Result<()> {
    // SAFETY: the action is one that sigaction(2) has reported for this signal, so its handler, if
    // any, is the program's own.
    Errno::result(unsafe { libc::sigaction(signal, &raw const *old, ptr::null_mut()) }).map(drop)
}

/// Has `handler` called at a signal; interrupted calls are restarted, and no other signal
/// interrupts the handler.
pub(crate) fn handle(signal: c_int, handler: Handler) -> nix::Result<()> {
    set_action(signal, handler as libc::sighandler_t, 0).map(drop)
}

/// Has `handler` called at a signal in place of `own`, or in addition to whoever else handles it
/// now, whom it has to call by `previous`.
///
/// As that other handler's author chose them, its mask and flags stay: one that was to interrupt
/// calls (no SA_RESTART), or to run on another stack, still does.
pub(crate) fn handle_too(
    signal: c_int,
    handler: InformedHandler,
    own: Handler,
    previous: &Previous,
) -> nix::Result<()> {
    let mut action = action(signal)?;
    if !is_function(&action) || action.sa_sigaction == own as libc::sighandler_t {
        return set_action(signal, handler as libc::sighandler_t, libc::SA_SIGINFO).map(drop);
    }
    // Kept before the new handler can be called.
    _ = previous.action.set(action);
    action.sa_sigaction = handler as libc::sighandler_t;
    // `Previous` sees to it that what is to be called once is called once.
    action.sa_flags = action.sa_flags & !libc::SA_RESETHAND | libc::SA_SIGINFO;
    // SAFETY: the action is an `InformedHandler`, which is written for signal context and gets what
    // SA_SIGINFO promises.
    let result = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    Errno::result(result).map(drop)
}

fn set_action(signal: c_int, action: libc::sighandler_t, flags: c_int) -> nix::Result<Action> {
    // SAFETY: all zeros are a valid sigaction.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_RESTART | flags;
    // SAFETY: the set is writable.
    unsafe { libc::sigfillset(&raw mut new.sa_mask) };
    // SAFETY: the action is the default one or a handler of the kind that the flags name, written
    // for signal context.
    let result = unsafe { libc::sigaction(signal, &raw const new, &raw mut old) };
    Errno::result(result).map(|_| Action(old))
}

/// The handler of another part of the program, which one of this library's has replaced and has to
/// call. It is read in signal handlers: nothing in it takes memory or waits.
#[derive(Debug)]
pub(crate) struct Previous {
    action: OnceLock<libc::sigaction>,
    /// Whether a handler that was to be called once only (SA_RESETHAND) has been called.
    spent: AtomicBool,
}

impl Previous {
    pub(crate) const fn none() -> Self {
        Self {
            action: OnceLock::new(),
            spent: AtomicBool::new(false),
        }
    }

    /// Whether there is a handler to be called.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_handler(&self) -> bool {
        self.action.get().is_some() && !self.spent.load(Ordering::Acquire)
    }

    /// Calls the previous handler with what the kernel has told the present one; `false` if there
    /// is none.
    pub(crate) fn call(
        &self,
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
    ) -> bool {
        let Some(action) = self.action.get() else {
            return false;
        };
        if action.sa_flags & libc::SA_RESETHAND != 0 && self.spent.swap(true, Ordering::AcqRel) {
            return false;
        }
        let function = action.sa_sigaction as *const ();
        if action.sa_flags & libc::SA_SIGINFO != 0 {
            // SAFETY: the kernel had this address, with this flag, as that of a function with these
            // arguments.
            let function = unsafe { mem::transmute::<*const (), InformedHandler>(function) };
            function(signal, info, context);
        } else {
            // SAFETY: as above; without the flag it has this one argument.
            let function = unsafe { mem::transmute::<*const (), extern "C" fn(c_int)>(function) };
            function(signal);
        }
        true
    }
}

/// The kernel's own sigaction(2): the C library's refuses the signals that it keeps for itself
/// (glibc: 32 and 33), which a caller can have ignored all the same.
#[cfg(target_os = "linux")]
mod kernel {
    use super::{Errno, c_int, ptr};

    // Its structure begins with the handler (on MIPS after the flags). Its size is at most that of
    // these words; the mask has 8 bytes (16 on MIPS).
    const MIPS: bool = cfg!(any(target_arch = "mips", target_arch = "mips64"));
    const MASK_BYTES: usize = if MIPS { 16 } else { 8 };
    type Action = [usize; 16];

    /// Whether a signal is ignored.
    pub(crate) fn is_ignored(signal: c_int) -> nix::Result<bool> {
        let mut old: Action = [0; 16];
        let none = ptr::null::<usize>();
        // SAFETY: the array is larger than the kernel's structure, and no new action is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                none,
                old.as_mut_ptr(),
                MASK_BYTES,
            )
        };
        Errno::result(result).map(|_| old[usize::from(MIPS)] == libc::SIG_IGN)
    }

    /// Puts a signal back to its default action.
    pub(crate) fn reset(signal: c_int) -> nix::Result<()> {
        // Zeros stand for SIG_DFL, no flags, an empty mask.
        let new: Action = [0; 16];
        let none = ptr::null_mut::<usize>();
        // SAFETY: the array is larger than the kernel's structure, and the default action calls
        // nothing.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                new.as_ptr(),
                none,
                MASK_BYTES,
            )
        };
        Errno::result(result).map(drop)
    }
}

#[cfg(target_os = "linux")]
pub(crate) use kernel::{is_ignored, reset};

/// Whether a signal is ignored; one that there is not is said not to be.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_ignored(signal: c_int) -> nix::Result<bool> {
    match action(signal) {
        Err(Errno::EINVAL) => Ok(false),
        action => action.map(|action| action.sa_sigaction == libc::SIG_IGN),
    }
}

/// Puts a signal back to its default action.
#[cfg(not(target_os = "linux"))]
pub(crate) fn reset(signal: c_int) -> nix::Result<()> {
    set_action(signal, libc::SIG_DFL, 0).map(drop)
}

/// Lets every signal through.
#[inline]
pub(crate) fn unblock_signals() -> nix::Result<()> {
    // SAFETY: all zeros are a valid signal set, the empty one.
    let none: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the set is readable, and the old one is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(Errno::from_raw(error)),
    }
}

/// Ends this process by the default action of `signal`, as if it had never been handled.
pub(crate) fn die_of(signal: c_int) {
    _ = reset(signal);
    // It takes effect at the latest when the mask lets the signal through.
    _ = kill(nix::unistd::getpid(), signal);
}

/// Sends a signal, real-time ones included.
pub(crate) fn kill(pid: Pid, signal: c_int) -> nix::Result<()> {
    // SAFETY: kill(2) touches no memory.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Waits for any signal, all being blocked; also says whether the kernel sent it for a terminal.
pub(crate) fn next_signal() -> (c_int, bool) {
    // SAFETY: all zeros are a valid signal set, and a valid siginfo_t.
    let (mut all, mut info): (libc::sigset_t, libc::siginfo_t) = unsafe { mem::zeroed() };
    // SAFETY: the set is writable.
    unsafe { libc::sigfillset(&raw mut all) };
    loop {
        #[cfg(not(target_vendor = "apple"))]
        // SAFETY: the set is readable and `info` writable.
        let signal = unsafe { libc::sigwaitinfo(&raw const all, &raw mut info) };
        #[cfg(target_vendor = "apple")]
        // SAFETY: the set is readable and `info.si_signo` writable.
        let signal = match unsafe { libc::sigwait(&raw const all, &raw mut info.si_signo) } {
            0 => info.si_signo,
            _ => -1,
        };
        if signal > 0 {
            return (signal, info.si_code > 0);
        }
    }
}

// The environment

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory in which the kernel laid down the inherited environment, which /proc/PID/environ
/// shows for ever.
pub(crate) struct InheritedEnvironment {
    start: *mut u8,
    length: usize,
}

impl InheritedEnvironment {
    /// Notes where that memory is. The strings lie one after the other, up to that of the program's
    /// own path; entries that something before `main` has put elsewhere are left out.
    #[cfg(target_os = "linux")]
    #[expect(clippy::cast_possible_truncation, reason = "both are addresses")]
    pub(crate) fn find(start: &StartOfMain) -> Self {
        // SAFETY: getauxval(3) has no precondition.
        let end = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
        // SAFETY: as above. The kernel puts these bytes below the strings.
        let below = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
        let on_stack = |entry: &*mut c_char| (below..end).contains(&(*entry as usize));
        let first = pointers(start).filter(on_stack).min();
        first.map_or(
            Self {
                start: ptr::null_mut(),
                length: 0,
            },
            |first| Self {
                start: first.cast(),
                length: end - first as usize,
            },
        )
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn find(_: &StartOfMain) -> Self {
        Self {
            start: ptr::null_mut(),
            length: 0,
        }
    }

    /// Overwrites that memory, after [`set_environment`] has made sure that nothing points to it
    /// any more.
    pub(crate) fn erase(&self) {
        if self.length > 0 {
            // SAFETY: these bytes of the initial stack are writable, belong to the process, and by
            // the promise that `find` was given nobody else keeps a pointer into them.
            unsafe { ptr::write_bytes(self.start, 0, self.length) };
        }
    }
}

fn pointers(_: &StartOfMain) -> impl Iterator<Item = *mut c_char> {
    // SAFETY: by the promise no other thread changes the environment meanwhile.
    let mut next = unsafe { environ };
    std::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: `next` is within the array, which ends with a null pointer.
        let entry = unsafe { *next };
        if entry.is_null() {
            next = ptr::null_mut();
            return None;
        }
        // SAFETY: this entry is not the null pointer that ends the array.
        next = unsafe { next.add(1) };
        Some(entry)
    })
}

/// The entries of the environment as they are, with or without an `=`.
pub(crate) fn environment(start: &StartOfMain) -> impl Iterator<Item = &CStr> {
    // SAFETY: each entry is a string that ends with a NUL byte, and it stays where it is while the
    // caller holds `start`: by the promise nobody else changes the environment.
    pointers(start).map(|entry| unsafe { CStr::from_ptr(entry) })
}

/// Replaces the whole environment.
pub(crate) fn set_environment(_: &StartOfMain, entries: Vec<CString>) {
    let mut array: Vec<*mut c_char> = entries.into_iter().map(CString::into_raw).collect();
    array.push(ptr::null_mut());
    // SAFETY: by the promise no other thread reads it; array and strings are never freed, as a
    // program may keep what getenv(3) gave it.
    unsafe { environ = array.leak().as_mut_ptr() };
}

/// Removes a variable from the environment.
pub(crate) fn unset(_: &StartOfMain, name: &str) {
    // SAFETY: by the promise no other thread reads the environment.
    unsafe { std::env::remove_var(name) };
}

// Privileges

/// As many as Linux allows a process, see setgroups(2).
pub(crate) const MOST_GROUPS: usize = 1 << 16;

/// The groups of a user, the primary one first. (nix asks for no more of them than sysconf(3)
/// allows, which with musl are 32, whatever the kernel allows.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups_of(user: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
    // The C library takes memory for as many as it is told there is room for: first for as many as
    // people have.
    let mut groups = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: the name ends with a NUL byte, and there is room for `count` groups.
        let result = unsafe {
            libc::getgrouplist(
                user.as_ptr(),
                primary.as_raw(),
                groups.as_mut_ptr(),
                &raw mut count,
            )
        };
        let found = usize::try_from(count).unwrap_or(0);
        match result {
            -1 if found <= groups.len() => return Err(Errno::last()),
            -1 if groups.len() == MOST_GROUPS => return Err(Errno::EINVAL),
            -1 => groups.resize(MOST_GROUPS, 0),
            _ => return Ok(groups[..found].iter().copied().map(Gid::from_raw).collect()),
        }
    }
}

/// Whether this process can take on root's user id, found out by trying. (nix also works out why
/// not.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn regains_root() -> bool {
    // SAFETY: setresuid(2) touches no memory.
    unsafe { libc::setresuid(0, 0, 0) == 0 }
}

/// The same for the group.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn regains_root_group() -> bool {
    // SAFETY: as above.
    unsafe { libc::setresgid(0, 0, 0) == 0 }
}

/// Permitted, effective and inheritable capabilities of this thread, a bit each, see
/// capabilities(7).
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
}

#[cfg(target_os = "linux")]
mod capability {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
    pub(super) const VERSION_3: u32 = 0x2008_0522;

    #[repr(C)]
    pub(super) struct Header {
        pub(super) version: u32,
        pub(super) pid: i32,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub(super) struct Word {
        pub(super) effective: u32,
        pub(super) permitted: u32,
        pub(super) inheritable: u32,
    }
}

#[cfg(target_os = "linux")]
impl Capabilities {
    pub(crate) fn get() -> nix::Result<Self> {
        let mut header = capability::Header {
            version: capability::VERSION_3,
            pid: 0,
        };
        let mut words = [capability::Word::default(); 2];
        // SAFETY: the structures are those of capget(2) for this version, two words long.
        let result =
            unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
        Errno::result(result)?;
        let join = |get: fn(&capability::Word) -> u32| {
            u64::from(get(&words[1])) << 32 | u64::from(get(&words[0]))
        };
        Ok(Self {
            permitted: join(|word| word.permitted),
            effective: join(|word| word.effective),
            inheritable: join(|word| word.inheritable),
        })
    }

    pub(crate) fn set(self) -> nix::Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each set is split into its two words"
        )]
        let word = |shift: u32| capability::Word {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let mut header = capability::Header {
            version: capability::VERSION_3,
            pid: 0,
        };
        let words = [word(0), word(32)];
        // SAFETY: the structures are those of capset(2) for this version, two words long.
        let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
        Errno::result(result).map(drop)
    }
}

/// One of the operations of prctl(2) that take numbers only and touch no memory.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
pub(crate) enum Prctl {
    GetSecurebits,
    SetSecurebits(libc::c_ulong),
    ClearAmbient,
    NoNewPrivs,
    ChildSubreaper,
    KeepCapabilities(bool),
}

#[cfg(target_os = "linux")]
pub(crate) fn prctl(operation: Prctl) -> nix::Result<c_int> {
    let (option, first): (c_int, libc::c_ulong) = match operation {
        Prctl::GetSecurebits => (libc::PR_GET_SECUREBITS, 0),
        Prctl::SetSecurebits(bits) => (libc::PR_SET_SECUREBITS, bits),
        Prctl::ClearAmbient => (
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        ),
        Prctl::NoNewPrivs => (libc::PR_SET_NO_NEW_PRIVS, 1),
        Prctl::ChildSubreaper => (libc::PR_SET_CHILD_SUBREAPER, 1),
        Prctl::KeepCapabilities(on) => (libc::PR_SET_KEEPCAPS, on.into()),
    };
    let none: libc::c_ulong = 0;
    // SAFETY: none of these operations reads or writes memory of the process.
    Errno::result(unsafe { libc::prctl(option, first, none, none, none) })
}

/// The user id that file access is checked against, which setresuid(2) sets along and nothing else
/// shows.
#[cfg(target_os = "linux")]
#[expect(
    clippy::cast_sign_loss,
    reason = "an id is returned as an int, bit for bit"
)]
pub(crate) fn file_system_uid() -> Uid {
    // SAFETY: an invalid id changes nothing; the current one is returned.
    Uid::from_raw(unsafe { libc::setfsuid(u32::MAX) } as u32)
}

/// The same for the group.
#[cfg(target_os = "linux")]
#[expect(
    clippy::cast_sign_loss,
    reason = "an id is returned as an int, bit for bit"
)]
pub(crate) fn file_system_gid() -> Gid {
    // SAFETY: as above.
    Gid::from_raw(unsafe { libc::setfsgid(u32::MAX) } as u32)
}

/// The supplementary groups of this process; EINVAL where there are more than there is room for.
/// (nix reads from /proc first how many there may be.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups(room: &mut [libc::gid_t]) -> nix::Result<&mut [libc::gid_t]> {
    let length = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
    // SAFETY: there is room for `length`.
    let count = Errno::result(unsafe { libc::getgroups(length, room.as_mut_ptr()) })?;
    Ok(&mut room[..usize::try_from(count).unwrap_or(0)])
}

#[cfg(target_os = "linux")]
pub(crate) fn join_new_keyring() -> nix::Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    };
    Errno::result(result).map(drop)
}
