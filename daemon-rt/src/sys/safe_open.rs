//! Opening a file for root where nobody else can have a hand in it: the same checks for pidfile and
//! logs.

use std::ffi::{CStr, CString, OsStr};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, lstat, stat};
use nix::unistd::{UnlinkatFlags, geteuid, unlink, unlinkat};

/// A regular file with one link, in a directory that, where root opens it, no one else can write.
pub(crate) struct SafePath {
    directory: OwnedFd,
    /// Ready for the system calls.
    name: CString,
}

impl SafePath {
    /// Opens the directory of `path`, which is absolute, and checks it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("this is not the path of a file"));
        };
        Ok(Self {
            directory: directory::open(parent)?,
            name: CString::new(name.as_bytes())?,
        })
    }

    /// What is at the path, without following a symbolic link.
    pub(crate) fn stat(&self) -> nix::Result<FileStat> {
        fstatat(
            &self.directory,
            self.name.as_c_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
    }

    /// Opens the file, which exists.
    pub(crate) fn open(&self, flags: OFlag) -> io::Result<(OwnedFd, FileStat)> {
        // Looked at before as well, as opening can already do something: wake a writer of a FIFO,
        // rewind a tape.
        regular(&self.stat()?)?;
        self.open_as(flags, Mode::empty())
    }

    /// Creates the file; it is an error if there is one.
    pub(crate) fn create(&self, flags: OFlag, mode: Mode) -> io::Result<(OwnedFd, FileStat)> {
        self.open_as(flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
    }

    pub(crate) fn remove(&self) -> nix::Result<()> {
        unlinkat(
            &self.directory,
            self.name.as_c_str(),
            UnlinkatFlags::NoRemoveDir,
        )
    }

    /// The directory, to know it again by.
    pub(crate) fn directory(&self) -> nix::Result<FileStat> {
        fstat(&self.directory)
    }

    /// A path that leads there through the open directory, so that nobody can exchange what is on
    /// the way. It needs /proc.
    #[cfg(target_os = "linux")]
    pub(crate) fn by_descriptor(&self) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.directory.as_raw_fd().to_string())
            .join(OsStr::from_bytes(self.name.to_bytes()))
    }

    /// Gives this name to the file that has another one in the same directory.
    #[cfg(target_os = "linux")]
    pub(crate) fn rename_from(&self, name: &OsStr) -> nix::Result<()> {
        nix::fcntl::renameat(&self.directory, name, &self.directory, self.name.as_c_str())
    }

    fn open_as(&self, flags: OFlag, mode: Mode) -> io::Result<(OwnedFd, FileStat)> {
        let safe = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, self.name.as_c_str(), flags | safe, mode)?;
        let found = fstat(&file)?;
        regular(&found)?;
        Ok((file, found))
    }

    /// Whether the path still leads to this file.
    pub(crate) fn still_is(&self, file: &FileStat) -> nix::Result<bool> {
        match self.stat() {
            Ok(found) => Ok(same_file(&found, file)),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens a directory that, where root does, no one else can write or exchange.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    directory::open(path)
}

/// The path of a file, ready for the system calls in each form: a signal handler must not take the
/// memory for that.
#[derive(Debug)]
pub(crate) struct ReadyPath {
    whole: CString,
    parent: CString,
    name: CString,
}

impl ReadyPath {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other("this is not the path of a file"));
        };
        let ready = |part: &OsStr| CString::new(part.as_bytes());
        Ok(Self {
            whole: ready(path.as_os_str())?,
            parent: ready(parent.as_os_str())?,
            name: ready(name)?,
        })
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        &self.whole
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.whole.to_bytes()))
    }
}

/// Removes a file, if its path still leads into this directory and there to this file. Only what
/// signal-safety(7) allows is called here.
pub(crate) fn remove_known(path: &ReadyPath, directory: &FileStat, file: &FileStat) {
    let ReadyPath {
        whole,
        parent,
        name,
    } = path;
    let (whole, parent, name) = (whole.as_c_str(), parent.as_c_str(), name.as_c_str());
    let is =
        |found: nix::Result<FileStat>, known| found.is_ok_and(|found| same_file(&found, known));
    // The user as whom the service runs may often not do it.
    match directory::open_unchecked(parent) {
        Ok(open)
            if is(fstat(&open), directory)
                && is(fstatat(&open, name, AtFlags::AT_SYMLINK_NOFOLLOW), file) =>
        {
            _ = unlinkat(&open, name, UnlinkatFlags::NoRemoveDir);
        }
        // The service has used up its descriptors, or the system has: then without one.
        Err(Errno::EMFILE | Errno::ENFILE)
            if is(stat(parent), directory) && is(lstat(whole), file) =>
        {
            _ = unlink(whole);
        }
        _ => {}
    }
}

pub(crate) fn same_file(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// The type bits of a file's mode.
pub(crate) fn file_type(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits())
}

fn regular(found: &FileStat) -> io::Result<()> {
    let problem = match file_type(found) {
        SFlag::S_IFREG if found.st_nlink > 1 => "it has more than one hard link",
        SFlag::S_IFREG => return Ok(()),
        SFlag::S_IFLNK => "it is a symbolic link, not a regular file",
        SFlag::S_IFDIR => "it is a directory, not a regular file",
        SFlag::S_IFIFO => "it is a FIFO, not a regular file",
        SFlag::S_IFSOCK => "it is a socket, not a regular file",
        _ => "it is a device, not a regular file",
    };
    Err(io::Error::other(problem))
}

/// For an ordinary user any directory will do: whoever can write it can at most disturb that user's
/// own service.
#[cfg(not(target_os = "linux"))]
mod directory {
    use nix::NixPath;

    use super::{Mode, OFlag, OwnedFd, Path, io};

    pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
        let directory = open_unchecked(path)?;
        if super::geteuid().is_root() {
            super::check_directory(&super::fstat(&directory)?, path, true)?;
        }
        Ok(directory)
    }

    pub(super) fn open_unchecked(path: &(impl NixPath + ?Sized)) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(path, flags, Mode::empty())
    }
}

#[cfg(target_os = "linux")]
mod directory {
    use std::collections::VecDeque;
    use std::ffi::OsString;
    use std::path::{Component, PathBuf};

    use nix::NixPath;
    use nix::fcntl::{open as open_at_path, readlinkat};

    use super::{
        Errno, FileStat, Mode, OFlag, OwnedFd, Path, SFlag, file_type, fstat, geteuid, io, openat,
    };
    use crate::sys::acl;

    const SEARCH: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
    /// As many symbolic links as the kernel follows, see path_resolution(7).
    const MOST_LINKS: usize = 40;

    pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
        if geteuid().is_root() {
            return walk(path);
        }
        Ok(open_unchecked(path)?)
    }

    pub(super) fn open_unchecked(path: &(impl NixPath + ?Sized)) -> nix::Result<OwnedFd> {
        open_at_path(path, SEARCH | OFlag::O_DIRECTORY, Mode::empty())
    }

    /// Goes down to the directory name by name, so that each directory on the way, symbolic links'
    /// targets included, is checked before it is relied on and cannot be exchanged afterwards.
    fn walk(path: &Path) -> io::Result<OwnedFd> {
        let mut names = names_of(path);
        let mut links = 0;
        let (mut here, mut so_far) = root()?;
        while let Some(name) = names.pop_front() {
            let next = openat(
                &here,
                name.as_os_str(),
                SEARCH | OFlag::O_NOFOLLOW,
                Mode::empty(),
            )?;
            let mut found = fstat(&next)?;
            if file_type(&found) == SFlag::S_IFLNK {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                check_owner(&found, &so_far.join(&name))?;
                let target = PathBuf::from(readlinkat(&next, "")?);
                if target.is_absolute() {
                    (here, so_far) = root()?;
                }
                let rest = std::mem::replace(&mut names, names_of(&target));
                names.extend(rest);
                found = fstat(&here)?;
            } else {
                here = next;
                so_far.push(&name);
            }
            super::check_directory(&found, &so_far, names.is_empty())?;
            let group_writes = found.st_mode & Mode::S_IWGRP.bits() != 0;
            if names.is_empty() && group_writes && acl::lets_others_write(&here)? {
                return Err(super::written_by_others(&so_far));
            }
        }
        Ok(here)
    }

    fn root() -> io::Result<(OwnedFd, PathBuf)> {
        Ok((open_unchecked(Path::new("/"))?, PathBuf::from("/")))
    }

    fn names_of(path: &Path) -> VecDeque<OsString> {
        path.components()
            .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
            .map(|component| component.as_os_str().to_owned())
            .collect()
    }

    fn check_owner(link: &FileStat, path: &Path) -> io::Result<()> {
        match link.st_uid {
            0 => Ok(()),
            uid => Err(io::Error::other(format!(
                "the symbolic link {} belongs to user id {uid}",
                path.display()
            ))),
        }
    }
}

/// Whether only root can change what is in a directory. On the way to the last one a sticky
/// directory such as /tmp will do, for there nobody can exchange what belongs to root.
fn check_directory(found: &FileStat, path: &Path, last: bool) -> io::Result<()> {
    if file_type(found) != SFlag::S_IFDIR {
        return Err(Errno::ENOTDIR.into());
    }
    let mode = Mode::from_bits_truncate(found.st_mode);
    // A group that can write a directory on the way (Ubuntu's /var/log is syslog's) can at most put
    // another directory of root's there.
    let group_writes = last && mode.contains(Mode::S_IWGRP) && found.st_gid != 0;
    let others_write = mode.contains(Mode::S_IWOTH) || group_writes;
    let who = if found.st_uid != 0 {
        format!("belongs to user id {}", found.st_uid)
    } else if others_write && (last || !mode.contains(Mode::S_ISVTX)) {
        return Err(written_by_others(path));
    } else {
        return Ok(());
    };
    Err(io::Error::other(format!(
        "the directory {} {who}",
        path.display()
    )))
}

fn written_by_others(path: &Path) -> io::Error {
    io::Error::other(format!(
        "the directory {} can be written by others than root",
        path.display()
    ))
}
