//! Descriptors that the library keeps while the service runs. The service's own code can close or
//! replace any number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};

use crate::sys::safe_open::same_file;

/// A descriptor of the library's. Its file is compared before each use, so that no byte is written
/// to a file of the service's, and no descriptor of the service's is closed.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `None` only while it is dropped.
    fd: Option<OwnedFd>,
    file: FileStat,
}

impl Kept {
    /// Remembers which file the descriptor leads to.
    pub(crate) fn new(fd: OwnedFd) -> nix::Result<Self> {
        let file = fstat(&fd)?;
        Ok(Self { fd: Some(fd), file })
    }

    /// Returns the descriptor.
    ///
    /// # Errors
    /// If the service has closed or replaced it.
    #[inline]
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        let fd = self.as_fd();
        if is_still(fd, &self.file) {
            Ok(fd)
        } else {
            Err(lost(fd))
        }
    }

    /// Returns the descriptor; `None` if the service has closed or replaced it. Calls only what
    /// signal-safety(7) allows.
    pub(crate) fn find(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.as_fd();
        if is_still(fd, &self.file) {
            Some(fd)
        } else {
            None
        }
    }

    /// Gives the descriptor to another owner.
    ///
    /// # Errors
    /// If the service has closed or replaced it.
    pub(crate) fn into_fd(mut self) -> io::Result<OwnedFd> {
        self.get()?;
        Ok(self.fd.take().expect(NOT_DROPPED))
    }
}

const NOT_DROPPED: &str = "it is taken only where it ends";

/// The file may be another one by now.
impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect(NOT_DROPPED).as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        if !is_still(fd.as_fd(), &self.file) {
            // The number is the service's now, or closed.
            std::mem::forget(fd);
        }
    }
}

/// Checks whether a descriptor still leads to this file. An error other than `EBADF` says nothing
/// about that: then it counts as ours.
#[inline]
pub(crate) fn is_still(fd: BorrowedFd<'_>, file: &FileStat) -> bool {
    match fstat(fd) {
        Ok(found) => same_file(&found, file),
        Err(error) => error != Errno::EBADF,
    }
}

/// The error for a descriptor that does not.
#[cold]
pub(crate) fn lost(fd: BorrowedFd<'_>) -> io::Error {
    io::Error::other(format!(
        "the service has closed or replaced descriptor {}",
        fd.as_raw_fd()
    ))
}
