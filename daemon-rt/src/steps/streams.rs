//! Steps 9–11: the standard streams, the file mode creation mask, the working directory.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fchmod};
use nix::unistd::{Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::journal;
use crate::error::{During, Error};
use crate::report::log;
use crate::step::Step;
use crate::sys::safe_open::{SafePath, file_type};
use crate::sys::stat::fstat;
use crate::sys::{self, FIRST, Start};

/// The path of the null device.
pub(crate) const NULL: &str = "/dev/null";
/// The mode with which a log is created.
pub(super) const LOG_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP);

/// Opens `/dev/null`, while the starter can still report that it is missing.
///
/// It also takes the numbers of standard streams that came closed, so that what is opened later
/// (pipe, lock, sockets) is not taken for a standard stream.
pub(crate) fn open_null() -> Result<OwnedFd, Error> {
    loop {
        let null = open_null_device().during(Step::ConnectStreams, NULL)?;
        if null.as_raw_fd() >= FIRST {
            return Ok(null);
        }
        // One of the three was closed: leave the null device there, as std does before `main`.
        std::mem::forget(null);
    }
}

fn open_null_device() -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let null = open(NULL, flags, Mode::empty())?;
    let found = fstat(&null)?;
    if file_type(&found) != SFlag::S_IFCHR || !sys::is_null_device(found.st_rdev) {
        return Err(io::Error::other("not the null device"));
    }
    Ok(null)
}

/// The logs to which the service writes.
pub(crate) struct Logs {
    pub(crate) stdout: Target,
    pub(crate) stderr: Target,
    /// The service's name, with which its messages are in the journal.
    pub(crate) name: String,
    /// The bound of those that are files, if they have one.
    pub(crate) rotation: Option<Rotation>,
}

/// The bound of a log file that is rotated.
#[derive(Clone, Copy)]
pub(crate) struct Rotation {
    /// The most bytes in a file.
    pub(crate) size: u64,
    /// The number of older files that are kept.
    pub(crate) keep: u32,
}

/// Where a standard stream goes.
#[derive(Clone)]
pub(crate) enum Target {
    Null,
    Path(PathBuf),
    Journal,
    /// A pipe takes its place, see [`writer`](super::writer).
    Syslog,
    Keep,
    File(Arc<File>),
}

/// Step 9: standard input from `/dev/null`, output and error there or to a log.
#[inline]
pub(crate) fn connect_streams(
    start: &Start,
    null: &OwnedFd,
    logs: &Logs,
    owner: Option<Uid>,
) -> Result<(), Error> {
    dup2_stdin(null).during(Step::ConnectStreams, "standard input")?;
    match (&logs.stdout, &logs.stderr) {
        (Target::Null, Target::Null) => {
            dup2_stdout(null).during(Step::ConnectStreams, "standard output")?;
            dup2_stderr(null).during(Step::ConnectStreams, "standard error")
        }
        _ => connect_logs(start, null, logs, owner),
    }
}

fn connect_logs(
    start: &Start,
    null: &OwnedFd,
    logs: &Logs,
    owner: Option<Uid>,
) -> Result<(), Error> {
    let journal = match (&logs.stdout, &logs.stderr) {
        (Target::Journal, _) | (_, Target::Journal) => {
            Some(journal::connect(&logs.name).during(Step::ConnectStreams, journal::OBJECT)?)
        }
        _ => None,
    };
    let out = open_target(&logs.stdout, null, journal.as_ref(), owner)?;
    let err = open_target(&logs.stderr, null, journal.as_ref(), owner)?;
    if let Some(out) = out {
        dup2_stdout(out).during(Step::ConnectStreams, "standard output")?;
    }
    if let Some(err) = err {
        dup2_stderr(err).during(Step::ConnectStreams, "standard error")?;
    }
    if let Some(journal) = journal {
        journal::name_to_others(start, &journal).during(Step::ConnectStreams, journal::OBJECT)?;
    }
    _ = LOGS.set([
        opened_again(&logs.stdout, io::stdout().as_fd()),
        opened_again(&logs.stderr, io::stderr().as_fd()),
    ]);
    Ok(())
}

/// Opens what takes the place of a standard stream; `None` if that is kept.
fn open_target(
    target: &Target,
    null: &OwnedFd,
    journal: Option<&OwnedFd>,
    owner: Option<Uid>,
) -> Result<Option<OwnedFd>, Error> {
    let opened = match (target, journal) {
        (Target::Keep, _) => return Ok(None),
        (Target::Path(path), _) => return Ok(Some(open_log(path, owner, LOG_MODE)?)),
        (Target::File(file), _) => file.as_fd().try_clone_to_owned(),
        (Target::Journal, Some(journal)) => journal.try_clone(),
        (Target::Journal, None) | (Target::Null | Target::Syslog, _) => null.try_clone(),
    };
    Ok(Some(
        opened.during(Step::ConnectStreams, "a copy of a log")?,
    ))
}

fn opened_again(target: &Target, stream: BorrowedFd<'_>) -> Option<Log> {
    match target {
        Target::Path(path) => Some(Log {
            path: path.clone(),
            mode: LOG_MODE,
            inherited: false,
        }),
        Target::Keep | Target::File(_) => inherited_log(stream),
        Target::Null | Target::Journal | Target::Syslog => None,
    }
}

/// A log that is opened again at a reload.
struct Log {
    path: PathBuf,
    mode: Mode,
    /// The manager or a shell has opened it, not this library.
    inherited: bool,
}

/// The logs of standard output and standard error, if they go to logs.
static LOGS: OnceLock<[Option<Log>; 2]> = OnceLock::new();
/// The logs' paths mean the same as at the start. In a chroot they do not.
static REACHABLE: AtomicBool = AtomicBool::new(true);

/// Remembers, in the foreground, the logs that the manager or a shell has opened (`append:` of
/// systemd.exec(5), `exec >>log`), by their present names.
pub(crate) fn note_inherited_logs() {
    _ = LOGS.set([
        inherited_log(io::stdout().as_fd()),
        inherited_log(io::stderr().as_fd()),
    ]);
}

fn inherited_log(stream: BorrowedFd<'_>) -> Option<Log> {
    let found = fstat(stream).ok()?;
    let flags = OFlag::from_bits_truncate(fcntl(stream, FcntlArg::F_GETFL).ok()?);
    if file_type(&found) != SFlag::S_IFREG || !flags.contains(OFlag::O_APPEND) {
        return None;
    }
    let path = present_name(stream)?;
    // A file that was removed, or is outside of this process's root, cannot be opened by its name.
    if !path.is_absolute() || path.as_os_str().as_bytes().ends_with(b" (deleted)") {
        return None;
    }
    Some(Log {
        path,
        mode: Mode::from_bits_truncate(found.st_mode & 0o666),
        inherited: true,
    })
}

/// The present name of an open file. It follows a rename, and ends with `(deleted)` when the file is
/// removed.
fn present_name(file: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Remembers that the logs' paths mean nothing any more: this process is in a chroot.
pub(crate) fn leave_logs_behind() {
    REACHABLE.store(false, Ordering::Release);
}

/// Opens the logs again by their paths, after they were rotated. If that fails, for example because
/// the service's user cannot create files in the directory, the old file stays in use, and gets a
/// line about it.
pub(crate) fn reopen_logs() {
    let Some([out, err]) = LOGS.get() else { return };
    reopen(out.as_ref(), io::stdout().as_fd(), dup2_stdout);
    reopen(err.as_ref(), io::stderr().as_fd(), dup2_stderr);
}

fn reopen(log: Option<&Log>, stream: BorrowedFd<'_>, connect: fn(OwnedFd) -> nix::Result<()>) {
    let Some(log) = log else { return };
    // One that this process did not open is left alone unless it was rotated: it may have been
    // opened in a way that this process does not know.
    if log.inherited && !is_renamed(stream, &log.path) {
        return;
    }
    let opened = if REACHABLE.load(Ordering::Acquire) {
        open_log(&log.path, None, log.mode)
    } else {
        Err(io::Error::other("its path is outside of the chroot"))
            .during(Step::ConnectStreams, log.path.display())
    };
    match opened {
        Ok(opened) => _ = connect(opened),
        Err(error) => log::error(&format!("{error}: going on with the old file")),
    }
}

fn is_renamed(file: BorrowedFd<'_>, known: &Path) -> bool {
    matches!(present_name(file), Some(name) if name != known)
}

/// Opens a log to append to it, creates it with this mode if it is missing, and gives it to the
/// service's user.
pub(super) fn open_log(path: &Path, owner: Option<Uid>, mode: Mode) -> Result<OwnedFd, Error> {
    open_to_append(path, owner, mode).during(Step::ConnectStreams, path.display())
}

fn open_to_append(path: &Path, owner: Option<Uid>, mode: Mode) -> io::Result<OwnedFd> {
    let place = SafePath::of(path)?;
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
    let (log, found) = loop {
        match place.open(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => break result?,
        }
        match place.create(flags, mode) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => {
                let created = result?;
                fchmod(&created.0, mode)?; // whatever the umask
                break created;
            }
        }
    };
    match owner {
        Some(owner) if owner.as_raw() != found.st_uid => fchown(&log, Some(owner), None)?,
        _ => {}
    }
    // The service's children share the flags, and expect that writing waits.
    fcntl(&log, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(log)
}

/// Step 10. It cannot fail.
#[inline]
pub(crate) fn set_umask(mask: Mode) {
    sys::umask(mask);
}

/// Returns a C string as a path.
pub(crate) fn path_of(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// Step 11.
#[inline]
pub(crate) fn change_directory(directory: &CStr) -> Result<(), Error> {
    chdir(directory).during(Step::ChangeDirectory, path_of(directory).display())
}
