//! What a service does whose code is not polite: with descriptors that it does not own, say.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use libc::c_int;

use crate::sys;

/// Closes a descriptor, whoever owns it.
pub fn close(number: RawFd) {
    let _ = sys::close_range(number, number);
}

/// Closes all from `first` to `last`, whoever owns them.
pub fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    sys::close_range(first, last)
}

/// Moves a descriptor to `number`, whatever that was before.
pub fn place(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    sys::place(descriptor, number)
}

/// Ignores a signal, or puts it back to its default.
pub fn set_ignored(signal: c_int, ignored: bool) -> io::Result<()> {
    sys::set_ignored(signal, ignored)
}

/// Takes a descriptor over, as sd_listen_fds(3) does: makes it close-on-exec.
pub fn set_close_on_exec(number: RawFd) -> io::Result<()> {
    sys::set_close_on_exec(number)
}
