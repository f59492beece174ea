//! Descriptors by their numbers, and locks on open files.

use std::ffi::{CStr, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use super::StartOfMain;
#[cfg(target_os = "linux")]
use super::process::pidfd_open;

/// The first descriptor that is not one of the three standard streams.
pub(crate) const FIRST: RawFd = 3;

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
pub(crate) fn borrow_raw<'a>(fd: RawFd) -> BorrowedFd<'a> {
    assert!(fd >= 0, "a descriptor is never negative");
    // SAFETY: not -1, the one value that the type excludes. The callers only ask fstat(2), poll(2)
    // and fcntl(2), which report a closed descriptor as EBADF or POLLNVAL.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Has a descriptor lead where standard input leads, and so lets go of what it led to; it stays
/// open for its owner.
#[cfg(target_os = "linux")]
pub(crate) fn detach_fd(fd: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both are plain numbers, of descriptors that are open and stay so; dup3(2) exchanges
    // in one step.
    Errno::result(unsafe { libc::dup3(libc::STDIN_FILENO, fd.as_raw_fd(), libc::O_CLOEXEC) })
        .map(drop)
}

/// Takes over an inherited descriptor that the environment names, to be closed on exec.
pub(crate) fn adopt_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // Fails where it is not open.
    let flags = FdFlag::from_bits_retain(fcntl(borrow_raw(fd), FcntlArg::F_GETFD)?);
    // exec(2) would have closed it: it is this process's own, or was taken over for another
    // variable.
    if flags.contains(FdFlag::FD_CLOEXEC) {
        return Err(io::Error::other(
            "it is not an inherited descriptor, or another variable names it as well",
        ));
    }
    fcntl(borrow_raw(fd), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
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
