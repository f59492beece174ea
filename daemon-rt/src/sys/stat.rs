//! stat(2). With glibc on 32 bits nix's knows inode numbers and sizes of 32: any more is EOVERFLOW.

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32")))]
pub(crate) use libc::ino_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32")))]
pub(crate) use nix::sys::stat::{FileStat, fstat, fstatat, lstat, stat};

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
pub(crate) use large::{FileStat, fstat, fstatat, ino_t, lstat, stat};

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
mod large {
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd, AsRawFd};

    pub(crate) use libc::{ino64_t as ino_t, stat64 as FileStat};
    use nix::NixPath;
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, AtFlags};

    pub(crate) fn stat<P: NixPath + ?Sized>(path: &P) -> nix::Result<FileStat> {
        fstatat(AT_FDCWD, path, AtFlags::empty())
    }

    pub(crate) fn lstat<P: NixPath + ?Sized>(path: &P) -> nix::Result<FileStat> {
        fstatat(AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    pub(crate) fn fstat<F: AsFd>(fd: F) -> nix::Result<FileStat> {
        let mut found = MaybeUninit::uninit();
        // SAFETY: the call writes the struct, or fails.
        Errno::result(unsafe { libc::fstat64(fd.as_fd().as_raw_fd(), found.as_mut_ptr()) })?;
        // SAFETY: it has been written.
        Ok(unsafe { found.assume_init() })
    }

    pub(crate) fn fstatat<F: AsFd, P: NixPath + ?Sized>(
        directory: F,
        path: &P,
        flags: AtFlags,
    ) -> nix::Result<FileStat> {
        let (directory, flags) = (directory.as_fd().as_raw_fd(), flags.bits());
        let mut found = MaybeUninit::uninit();
        let found_at = found.as_mut_ptr();
        Errno::result(path.with_nix_path(|path| {
            // SAFETY: the path ends with NUL; the call writes the struct, or fails.
            unsafe { libc::fstatat64(directory, path.as_ptr(), found_at, flags) }
        })?)?;
        // SAFETY: it has been written.
        Ok(unsafe { found.assume_init() })
    }
}
