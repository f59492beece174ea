//! Descriptors by their numbers, locks and extended attributes of open files.

use std::ffi::{CStr, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
#[cfg(target_os = "linux")]
use nix::sys::statfs::{FsType, fstatfs};
#[cfg(target_os = "linux")]
use nix::unistd::getpid;

use super::borrow::borrow_raw;
use super::kept::{InheritedFd, is_kept_on_exec};
#[cfg(target_os = "linux")]
use super::process::pidfd_open;
#[cfg(target_os = "linux")]
use super::stat::fstat;
use super::{Start, StartOfMain, noted};

/// The first descriptor that is not one of the three standard streams.
pub(crate) const FIRST: RawFd = 3;

/// Closes the inherited descriptors `first..=last` in one call. They need not be open.
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

/// Closes one inherited descriptor. It need not be open.
pub(crate) fn close(_: &StartOfMain, fd: RawFd) {
    // SAFETY: by the promise nothing in this process owns this descriptor.
    unsafe { libc::close(fd) };
}

/// Makes a descriptor lead where standard input leads, and so closes what it led to. The descriptor
/// stays open for its owner. (nix's dup3(2) wants a mutable one.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn detach_fd(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both are numbers of open descriptors, and stay so: dup3(2) exchanges in one step.
    Errno::result(unsafe { libc::dup3(libc::STDIN_FILENO, fd.as_raw_fd(), libc::O_CLOEXEC) })
        .map(drop)
}

/// The same by two calls: macOS has no dup3(2).
#[cfg(target_vendor = "apple")]
pub(crate) fn detach_fd(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both are numbers of open descriptors, and stay so: dup2(2) exchanges in one step.
    Errno::result(unsafe { libc::dup2(libc::STDIN_FILENO, fd.as_raw_fd()) })?;
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop)
}

/// Closes an inherited descriptor, unless the program has closed it or taken it over by now.
pub(crate) fn close_inherited(_: &Start, inherited: &InheritedFd) -> nix::Result<()> {
    if inherited.is_unclaimed()? {
        // SAFETY: it was open before the program's first code ran, leads to the same file still, and
        // has no owner, who would have made it close-on-exec.
        unsafe { libc::close(inherited.fd) };
    }
    Ok(())
}

/// Takes over an inherited descriptor that the environment names.
///
/// # Errors
/// If it is not open, or does not come from the environment.
pub(crate) fn adopt_inherited(start: &Start, fd: RawFd) -> io::Result<OwnedFd> {
    match start {
        Start::OfMain(_) => claim(fd),
        Start::Late(_) => match noted()?.iter().find(|noted| noted.fd == fd) {
            Some(inherited) => adopt(inherited),
            None => Err(Errno::EBADF.into()),
        },
    }
}

/// Takes over an inherited descriptor, and makes it close-on-exec.
///
/// # Errors
/// If the program has closed it or taken it over by now.
pub(crate) fn adopt(inherited: &InheritedFd) -> io::Result<OwnedFd> {
    if inherited.is_unclaimed()? {
        claim(inherited.fd)
    } else {
        Err(claimed())
    }
}

/// Takes over a descriptor that was inherited, as the caller knows.
fn claim(fd: RawFd) -> io::Result<OwnedFd> {
    // exec(2) would have closed it: it is this process's own, or was taken over for another variable.
    if !is_kept_on_exec(fd)? {
        return Err(claimed());
    }
    fcntl(borrow_raw(fd), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, was inherited, and the environment or an argument passes it on for this
    // process to own. It has no other owner: what is taken over here and what the standard library
    // opens has the flag that was just looked for.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn claimed() -> io::Error {
    io::Error::other("it is not an inherited descriptor, or another variable names it as well")
}

/// Takes over a descriptor that came with a message.
#[cfg(target_os = "linux")]
pub(crate) fn adopt_received(fd: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has just made it for the receiver, which gives it to no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Returns the number that the kernel gives this process and no other as long as the machine runs,
/// see pidfd_open(2); `None` before Linux 6.9.
#[cfg(target_os = "linux")]
#[allow(
    clippy::useless_conversion,
    reason = "an inode number has 32 bits on some systems"
)]
pub(crate) fn own_pidfd_id() -> Option<u64> {
    const PIDFS: FsType = FsType(0x5049_4446);
    let fd = pidfd_open(getpid()).ok()?;
    // Before, all pidfds shared one inode of another file system.
    if fstatfs(&fd).ok()?.filesystem_type() != PIDFS {
        return None;
    }
    Some(u64::from(fstat(&fd).ok()?.st_ino))
}

/// Returns `None`: there are no such numbers.
#[cfg(not(target_os = "linux"))]
pub(crate) fn own_pidfd_id() -> Option<u64> {
    None
}

/// Takes the exclusive flock(2) of an open file without waiting. All copies of the descriptor share
/// it, and it ends with the last copy. (nix's `Flock` unlocks for all of them when it is dropped.)
pub(crate) fn try_lock(file: BorrowedFd<'_>) -> nix::Result<()> {
    flock(file, libc::LOCK_EX | libc::LOCK_NB)
}

/// Unlocks a file for all that share the descriptor.
pub(crate) fn unlock(file: &impl AsFd) -> nix::Result<()> {
    flock(file.as_fd(), libc::LOCK_UN)
}

/// Checks whether another open file has the exclusive flock(2) of this file. If not, this one holds
/// a shared lock for a moment.
#[cfg(target_os = "linux")]
pub(crate) fn is_locked(file: BorrowedFd<'_>) -> nix::Result<bool> {
    match flock(file, libc::LOCK_SH | libc::LOCK_NB) {
        Err(Errno::EWOULDBLOCK) => return Ok(true),
        result => result?,
    }
    flock(file, libc::LOCK_UN)?;
    Ok(false)
}

fn flock(file: BorrowedFd<'_>, operation: c_int) -> nix::Result<()> {
    // SAFETY: flock(2) touches no memory.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}

/// Copies an extended attribute of a file to the buffer, and returns its length; ERANGE if there is
/// not enough room.
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

/// Returns the number of bytes that can be read from a pipe.
pub(crate) fn unread(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(result)?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Checks whether a device number is that of `/dev/null`: root's mistaken `-o /dev/null` can have
/// put a file there.
#[cfg(target_os = "linux")]
pub(crate) fn is_null_device(device: libc::dev_t) -> bool {
    device == libc::makedev(1, 3)
}

/// Believes it: the number differs from system to system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_null_device(_: libc::dev_t) -> bool {
    true
}

/// Makes a socket not linger when it is closed. Its sender can undo that as long as it has a copy.
pub(crate) fn disarm(socket: &OwnedFd) {
    _ = setsockopt(
        socket,
        sockopt::Linger,
        &libc::linger {
            l_onoff: 0,
            l_linger: 0,
        },
    );
}

/// Closes descriptors that a hostile process may have sent, or the connection to one, in a thread of
/// their own: closing the last copy of a socket that lingers (`SO_LINGER`) blocks, even if it is
/// still in a queue that is closed.
pub(crate) fn close_aside(fds: Vec<OwnedFd>) {
    if fds.is_empty() {
        return;
    }
    for socket in &fds {
        disarm(socket);
    }
    // They stay open if there cannot be a thread.
    let fds = mem::ManuallyDrop::new(fds);
    _ = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || drop(mem::ManuallyDrop::into_inner(fds)));
}

/// Creates a pipe whose ends are closed on exec and do not block.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
}

/// Creates the same by two calls each: macOS has no pipe2(2).
#[cfg(target_vendor = "apple")]
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let ends = nix::unistd::pipe()?;
    for end in [&ends.0, &ends.1] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(ends)
}
