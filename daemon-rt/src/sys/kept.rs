//! Descriptors that the library keeps while the service runs. The service's own code can close or
//! replace any number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc::dev_t;

use super::borrow::borrow_raw;
use super::stat::{FileStat, fstat, ino_t};

/// A descriptor of the library's. Its file is compared before each use, so that no byte is written
/// to a file of the service's, and no descriptor of the service's is closed.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `None` only while it is dropped.
    fd: Option<OwnedFd>,
    file: FileId,
}

impl Kept {
    /// Remembers which file the descriptor leads to.
    pub(crate) fn new(fd: OwnedFd) -> nix::Result<Self> {
        let file = FileId::of(&fstat(&fd)?);
        Ok(Self { fd: Some(fd), file })
    }

    /// Returns the descriptor.
    ///
    /// # Errors
    /// If the service has closed or replaced it.
    #[inline]
    pub(crate) fn get(&self) -> io::Result<BorrowedFd<'_>> {
        let fd = self.as_fd();
        if leads_to(fd, self.file) {
            Ok(fd)
        } else {
            Err(lost(fd))
        }
    }

    /// Returns the descriptor; `None` if the service has closed or replaced it. Calls only what
    /// signal-safety(7) allows.
    pub(crate) fn find(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.as_fd();
        if leads_to(fd, self.file) {
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

    /// Closes the descriptor unchecked, where no code of the service's has run since it was opened.
    pub(crate) fn close(mut self) {
        drop(self.fd.take());
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
        if !leads_to(fd.as_fd(), self.file) {
            // The number is the service's now, or closed.
            std::mem::forget(fd);
        }
    }
}

/// The device and the inode number of a file. A whole `FileStat` is large enough to be moved by
/// memmove(3), for which the daemon would have to map another page of the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(dev_t, ino_t);

impl FileId {
    fn of(file: &FileStat) -> Self {
        Self(file.st_dev, file.st_ino)
    }
}

/// Checks whether a descriptor still leads to this file.
pub(crate) fn is_still(fd: BorrowedFd<'_>, file: &FileStat) -> bool {
    leads_to(fd, FileId::of(file))
}

/// An error other than `EBADF` says nothing about the file: then it counts as ours.
#[inline]
fn leads_to(fd: BorrowedFd<'_>, file: FileId) -> bool {
    match fstat(fd) {
        Ok(found) => FileId::of(&found) == file,
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

/// An inherited descriptor, with the file that it led to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InheritedFd {
    pub(crate) fd: RawFd,
    file: nix::Result<FileId>,
}

impl InheritedFd {
    /// Looks at a descriptor; `None` if it is not open.
    pub(crate) fn find(fd: RawFd) -> Option<Self> {
        match fstat(borrow_raw(fd)) {
            Err(Errno::EBADF) => None,
            Ok(found) => Some(Self {
                fd,
                file: Ok(FileId::of(&found)),
            }),
            Err(error) => Some(Self {
                fd,
                file: Err(error),
            }),
        }
    }

    /// Tells whether it is open and still leads to that file, and has no owner: that would have set
    /// `FD_CLOEXEC`, as sd_listen_fds(3) does.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub(crate) fn is_unclaimed(&self) -> nix::Result<bool> {
        match is_kept_on_exec(self.fd) {
            Err(Errno::EBADF) | Ok(false) => return Ok(false),
            Err(error) => return Err(error),
            Ok(true) => {}
        }
        match fstat(borrow_raw(self.fd)) {
            Err(Errno::EBADF) => Ok(false),
            now => Ok(FileId::of(&now?) == self.file?),
        }
    }
}

/// Tells whether exec(2) would leave a descriptor open.
pub(crate) fn is_kept_on_exec(fd: RawFd) -> nix::Result<bool> {
    let flags = fcntl(borrow_raw(fd), FcntlArg::F_GETFD)?;
    Ok(!FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
}
