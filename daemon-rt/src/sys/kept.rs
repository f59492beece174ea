//! Descriptors that outlive calls of the service's own code, which can close or replace any number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};

use crate::sys::safe_open::same_file;

/// A descriptor of the library's. It is known again by its file before each use, so that no byte
/// goes into a file of the service's, and none of its files is closed.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `None` only while it is dropped.
    fd: Option<OwnedFd>,
    file: FileStat,
}

impl Kept {
    pub(crate) fn new(fd: OwnedFd) -> nix::Result<Self> {
        let file = fstat(&fd)?;
        Ok(Self { fd: Some(fd), file })
    }

    /// The descriptor.
    ///
    /// # Errors
    /// If the service has closed or replaced it.
    #[inline]
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotFound)?.as_fd();
        if is_still(fd, &self.file) {
            Ok(fd)
        } else {
            Err(lost(fd))
        }
    }

    /// The same without a reason why not. Calls only what signal-safety(7) allows.
    pub(crate) fn find(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.as_ref()?.as_fd();
        is_still(fd, &self.file).then_some(fd)
    }

    /// The descriptor, for another owner.
    ///
    /// # Errors
    /// If the service has closed or replaced it.
    pub(crate) fn into_fd(mut self) -> io::Result<OwnedFd> {
        self.get()?;
        self.fd.take().ok_or(io::ErrorKind::NotFound.into())
    }
}

/// Whatever it leads to by now.
impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("it is taken only where it ends")
            .as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.get().is_err() {
            // The number is the service's now, or closed.
            std::mem::forget(self.fd.take());
        }
    }
}

/// Whether a descriptor still leads to this file. Any failure but `EBADF` says nothing of it: then
/// it is taken to be ours.
#[inline]
pub(crate) fn is_still(fd: BorrowedFd<'_>, file: &FileStat) -> bool {
    match fstat(fd) {
        Ok(found) => same_file(&found, file),
        Err(error) => error != Errno::EBADF,
    }
}

/// What is said of a descriptor that does not.
#[cold]
pub(crate) fn lost(fd: BorrowedFd<'_>) -> io::Error {
    io::Error::other(format!(
        "the service has closed or replaced descriptor {}",
        fd.as_raw_fd()
    ))
}
