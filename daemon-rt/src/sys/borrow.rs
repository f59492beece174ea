//! Descriptors that are only looked at, by their numbers.

use std::os::fd::{BorrowedFd, RawFd};

/// Borrows a descriptor by its number. It need not be open: the caller's next call finds that out.
pub(crate) fn borrow_raw<'a>(fd: RawFd) -> BorrowedFd<'a> {
    assert!(fd >= 0, "a descriptor is never negative");
    // SAFETY: not -1, the one value that the type excludes. The callers only ask fstat(2), poll(2)
    // and fcntl(2), which report a closed descriptor as EBADF or POLLNVAL.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
