//! Opens files where only root can change the path to them: the same checks for the pidfile, the
//! logs and the sockets.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
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
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, geteuid, unlink, unlinkat};

use super::stat::{FileStat, fstat, fstatat, lstat, stat};

/// The name of a file in an open directory. Where root opens it, only root can write the directory.
pub(crate) struct SafePath {
    directory: OwnedFd,
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

    /// Checks the path, and what is there, if something is.
    pub(crate) fn check(path: &Path) -> io::Result<()> {
        match Self::of(path)?.stat() {
            Ok(found) => check_file(&found),
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the status of what is at the path, without following a symbolic link.
    pub(crate) fn stat(&self) -> nix::Result<FileStat> {
        fstatat(
            &self.directory,
            self.name.as_c_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
    }

    /// Opens the file, which must exist, be a regular file and have one link.
    pub(crate) fn open(&self, flags: OFlag) -> io::Result<(OwnedFd, FileStat)> {
        // Before as well, because opening can have an effect: it wakes a writer of a FIFO, or
        // rewinds a tape.
        check_file(&self.stat()?)?;
        self.open_as(flags, Mode::empty())
    }

    /// Creates the file, which must not exist.
    pub(crate) fn create(&self, flags: OFlag, mode: Mode) -> io::Result<(OwnedFd, FileStat)> {
        self.open_as(flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
    }

    /// Opens the directory of this name.
    pub(crate) fn open_directory(&self) -> nix::Result<(OwnedFd, FileStat)> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = openat(&self.directory, self.name.as_c_str(), flags, Mode::empty())?;
        let found = fstat(&directory)?;
        Ok((directory, found))
    }

    /// Removes the file.
    pub(crate) fn remove(&self) -> nix::Result<()> {
        unlinkat(
            &self.directory,
            self.name.as_c_str(),
            UnlinkatFlags::NoRemoveDir,
        )
    }

    /// Returns the status of the directory, to know it again by.
    pub(crate) fn directory(&self) -> nix::Result<FileStat> {
        fstat(&self.directory)
    }

    /// Returns a path that leads through the open directory, so that no directory on the way can be
    /// exchanged. It needs /proc.
    #[cfg(target_os = "linux")]
    pub(crate) fn by_descriptor(&self) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.directory.as_raw_fd().to_string())
            .join(OsStr::from_bytes(self.name.to_bytes()))
    }

    /// Renames another file of the directory to this name.
    #[cfg(target_os = "linux")]
    pub(crate) fn rename_from(&self, name: &OsStr) -> nix::Result<()> {
        nix::fcntl::renameat(&self.directory, name, &self.directory, self.name.as_c_str())
    }

    fn open_as(&self, flags: OFlag, mode: Mode) -> io::Result<(OwnedFd, FileStat)> {
        let safe = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        // A log can have more than 2 GiB, also where that is not a matter of course.
        #[cfg(target_os = "linux")]
        let safe = safe | OFlag::O_LARGEFILE;
        let file = openat(&self.directory, self.name.as_c_str(), flags | safe, mode)?;
        let found = fstat(&file)?;
        check_file(&found)?;
        Ok((file, found))
    }

    /// Checks whether the path still leads to this file.
    pub(crate) fn still_is(&self, file: &FileStat) -> nix::Result<bool> {
        match self.stat() {
            Ok(found) => Ok(same_file(&found, file)),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens a directory. Where root opens it, only root can write or exchange it.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    directory::open(path)
}

/// The path of a file in each form that the system calls want: a signal handler must not allocate
/// the memory for it.
#[derive(Debug)]
pub(crate) struct ReadyPath {
    whole: CString,
    parent: CString,
    name: CString,
}

impl ReadyPath {
    /// Makes the forms.
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

    /// Returns the whole path, for system calls.
    pub(crate) fn as_c_str(&self) -> &CStr {
        &self.whole
    }

    /// Returns the whole path.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.whole.to_bytes()))
    }
}

/// Removes a file, if its path still leads into this directory and there to this file. Calls only
/// what signal-safety(7) allows.
pub(crate) fn remove_known(path: &ReadyPath, directory: &FileStat, file: &FileStat) {
    let ReadyPath {
        whole,
        parent,
        name,
    } = path;
    let (whole, parent, name) = (whole.as_c_str(), parent.as_c_str(), name.as_c_str());
    // The service's user often has no right to remove it.
    match directory::open_unchecked(parent) {
        Ok(open)
            if is(fstat(&open), directory)
                && is(fstatat(&open, name, AtFlags::AT_SYMLINK_NOFOLLOW), file) =>
        {
            _ = unlinkat(&open, name, UnlinkatFlags::NoRemoveDir);
        }
        // The service or the system has no descriptor left.
        Err(Errno::EMFILE | Errno::ENFILE)
            if is(stat(parent), directory) && is(lstat(whole), file) =>
        {
            _ = unlink(whole);
        }
        _ => {}
    }
}

fn is(found: nix::Result<FileStat>, known: &FileStat) -> bool {
    matches!(found, Ok(found) if same_file(&found, known))
}

/// Checks whether two statuses are those of one file.
pub(crate) fn same_file(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// Returns the type bits of a file's mode.
pub(crate) fn file_type(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits())
}

fn check_file(found: &FileStat) -> io::Result<()> {
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

/// The place of a directory in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    OnTheWay,
    Last,
}

/// Opens directories, and checks them for root. For an ordinary user any directory will do: who can
/// write it can at most disturb that user's own service.
#[cfg(not(target_os = "linux"))]
mod directory {
    use nix::NixPath;

    use super::{Mode, OFlag, OwnedFd, Path, io};

    pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
        let directory = open_unchecked(path)?;
        if super::geteuid().is_root() {
            super::check_directory(&super::fstat(&directory)?, path, super::Place::Last)?;
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
        Errno, FileStat, Mode, OFlag, OwnedFd, Path, Place, SFlag, file_type, fstat, geteuid, io,
        openat,
    };
    use crate::sys::acl;

    const SEARCH: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);
    /// The kernel follows as many symbolic links, see path_resolution(7).
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

    /// Goes down to the directory name by name. So each directory on the way, those of symbolic
    /// links included, is checked before it is used, and cannot be exchanged afterwards.
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
            let place = if names.is_empty() {
                Place::Last
            } else {
                Place::OnTheWay
            };
            super::check_directory(&found, &so_far, place)?;
            if place == Place::Last {
                check_list(&here, &found, &so_far)?;
            }
        }
        Ok(here)
    }

    fn check_list(directory: &OwnedFd, found: &FileStat, path: &Path) -> io::Result<()> {
        let group_writes = found.st_mode & Mode::S_IWGRP.bits() != 0;
        if group_writes && acl::lets_others_write(directory)? {
            return Err(super::written_by_others(path));
        }
        Ok(())
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

/// Makes sure that only root can change what is in a directory. On the way to the last one a sticky
/// directory such as /tmp will do: what belongs to root cannot be exchanged there.
fn check_directory(found: &FileStat, path: &Path, place: Place) -> io::Result<()> {
    if file_type(found) != SFlag::S_IFDIR {
        return Err(Errno::ENOTDIR.into());
    }
    if found.st_uid != 0 {
        let (path, owner) = (path.display(), found.st_uid);
        let problem = format!("the directory {path} belongs to user id {owner}");
        return Err(Untrusted(problem).into());
    }
    let mode = Mode::from_bits_truncate(found.st_mode);
    let everyone_writes = mode.contains(Mode::S_IWOTH);
    let others_write = match place {
        // A group that can write it (Ubuntu's /var/log is syslog's) can at most put another
        // directory of root's there.
        Place::OnTheWay => everyone_writes && !mode.contains(Mode::S_ISVTX),
        Place::Last => everyone_writes || mode.contains(Mode::S_IWGRP) && found.st_gid != 0,
    };
    if others_write {
        return Err(written_by_others(path));
    }
    Ok(())
}

fn written_by_others(path: &Path) -> io::Error {
    let path = path.display();
    Untrusted(format!(
        "the directory {path} can be written by others than root"
    ))
    .into()
}

/// Root does not trust a file or directory, for this reason: the source of an [`io::Error`].
#[derive(Debug)]
pub(crate) struct Untrusted(pub(crate) String);

impl Untrusted {
    /// Checks whether this is the source of an error.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(source) if source.is::<Self>())
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

impl From<Untrusted> for io::Error {
    fn from(reason: Untrusted) -> Self {
        Self::other(reason)
    }
}
