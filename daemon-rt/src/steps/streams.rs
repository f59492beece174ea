//! Steps 9–11: the standard streams, the file mode creation mask, the working directory.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, umask};
use nix::unistd::{Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::error::{During, Error};
use crate::report;
use crate::report::log::complain;
use crate::step::Step;
use crate::sys::safe_open::{SafePath, file_type};
use crate::sys::{self, FIRST};

pub(crate) const NULL: &str = "/dev/null";

/// `/dev/null`, opened while the starter can still say that it is not there.
///
/// It also fills the places of standard descriptors that came closed, so that whatever is opened
/// after it (pipe, lock, sockets) is not taken for a standard stream.
pub(crate) fn open_null() -> Result<OwnedFd, Error> {
    let null = || -> io::Result<OwnedFd> {
        let null = open(
            NULL,
            OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let found = fstat(&null)?;
        if file_type(&found) != SFlag::S_IFCHR || !sys::is_null_device(found.st_rdev) {
            return Err(io::Error::other("it is not the null device"));
        }
        Ok(null)
    };
    loop {
        let null = null().during(Step::ConnectStreams, NULL)?;
        if null.as_raw_fd() >= FIRST {
            return Ok(null);
        }
        // One of the three was closed: leave the null device there, as std does before `main`.
        std::mem::forget(null);
    }
}

/// The files to which the service writes; `None` stands for `/dev/null`.
pub(crate) struct Logs {
    pub(crate) stdout: Option<PathBuf>,
    pub(crate) stderr: Option<PathBuf>,
}

/// Step 9: standard input from `/dev/null`, output and error there or appended to a log.
#[inline]
pub(crate) fn connect_streams(
    null: &OwnedFd,
    logs: &Logs,
    owner: Option<Uid>,
) -> Result<(), Error> {
    let none = logs.stdout.is_none() && logs.stderr.is_none();
    let [out, err] = if none {
        [None, None]
    } else {
        open_logs(logs, owner)?
    };
    dup2_stdin(null).during(Step::ConnectStreams, "standard input")?;
    dup2_stdout(out.as_ref().unwrap_or(null)).during(Step::ConnectStreams, "standard output")?;
    dup2_stderr(err.as_ref().unwrap_or(null)).during(Step::ConnectStreams, "standard error")
}

fn open_logs(logs: &Logs, owner: Option<Uid>) -> Result<[Option<OwnedFd>; 2], Error> {
    let open = |path: &Option<PathBuf>| {
        let Some(path) = path else { return Ok(None) };
        open_log(path, owner, LOG_MODE).map(Some)
    };
    let opened = [open(&logs.stdout)?, open(&logs.stderr)?];
    let log = |path: &Option<PathBuf>| {
        path.clone().map(|path| Log {
            path,
            mode: LOG_MODE,
            inherited: false,
        })
    };
    _ = LOGS.set([log(&logs.stdout), log(&logs.stderr)]);
    Ok(opened)
}

/// A log that is opened again at a reload.
struct Log {
    path: PathBuf,
    mode: Mode,
    /// Whether the manager or a shell has opened it, and not this library.
    inherited: bool,
}

/// Where standard output and standard error go, if that is to logs.
static LOGS: OnceLock<[Option<Log>; 2]> = OnceLock::new();
/// Whether the logs' paths mean the same as at the start: not from inside a chroot.
static REACHABLE: AtomicBool = AtomicBool::new(true);

/// Remembers, in the foreground, the logs that the manager or a shell has opened (`append:` of
/// systemd.exec(5), `exec
/// >>log`), by the names that they have now.
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
    // What has no name any more cannot be opened by it, nor what is outside of this process's root.
    let named = path.is_absolute() && !path.as_os_str().as_bytes().ends_with(b" (deleted)");
    let mode = Mode::from_bits_truncate(found.st_mode & 0o666);
    named.then_some(Log {
        path,
        mode,
        inherited: true,
    })
}

/// The name that an open file has now: it changes with the file's, and says so when the file is
/// removed.
fn present_name(file: BorrowedFd<'_>) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// From here on the logs' paths mean nothing any more.
pub(crate) fn leave_logs_behind() {
    REACHABLE.store(false, Ordering::Release);
}

/// Opens the logs again by their paths, after they were rotated. Where that fails (the service's
/// user may not create files in the directory, say), the old file goes on being used, and it is
/// said in it.
pub(crate) fn reopen_logs() {
    let Some([out, err]) = LOGS.get() else { return };
    reopen(out.as_ref(), io::stdout().as_fd(), dup2_stdout);
    reopen(err.as_ref(), io::stderr().as_fd(), dup2_stderr);
}

fn reopen(log: Option<&Log>, stream: BorrowedFd<'_>, connect: fn(OwnedFd) -> nix::Result<()>) {
    let Some(log) = log else { return };
    // One that somebody else has opened, in ways that may not be this process's, is touched only if
    // it was rotated.
    if log.inherited && present_name(stream).is_none_or(|name| name == log.path) {
        return;
    }
    let opened = if REACHABLE.load(Ordering::Acquire) {
        open_log(&log.path, None, log.mode)
    } else {
        let error = io::Error::other("its path is outside of the chroot");
        Err(Error::step(
            Step::ConnectStreams,
            log.path.display().to_string(),
            error,
        ))
    };
    match opened {
        Ok(opened) => _ = connect(opened),
        Err(error) => complain(
            &report::name(),
            &format!("{error}: going on with the old file"),
        ),
    }
}

/// The mode with which a log is created.
const LOG_MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR).union(Mode::S_IRGRP);

/// Opens a log to append to, created with this mode, and gives it to the service's user.
fn open_log(path: &Path, owner: Option<Uid>, mode: Mode) -> Result<OwnedFd, Error> {
    let log = || -> io::Result<OwnedFd> {
        let place = SafePath::of(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
        let (log, found) = match place.open(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let created = place.create(flags, mode)?;
                fchmod(&created.0, mode)?; // whatever the umask
                created
            }
            result => result?,
        };
        if owner.is_some_and(|owner| owner.as_raw() != found.st_uid) {
            fchown(&log, owner, None)?;
        }
        // The service's children share the flags, and expect to wait where they write.
        fcntl(&log, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(log)
    };
    log().during(Step::ConnectStreams, path.display())
}

/// Step 10. It cannot fail.
pub(crate) fn set_umask(mask: Mode) {
    umask(mask);
}

pub(crate) fn path_of(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

/// Step 11.
pub(crate) fn change_directory(directory: &CStr) -> Result<(), Error> {
    chdir(directory).during(Step::ChangeDirectory, path_of(directory).display())
}
