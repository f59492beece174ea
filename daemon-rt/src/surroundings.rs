//! Steps 9–11: the standard streams, the file mode creation mask, the working directory.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, umask};
use nix::unistd::{Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::audience;
use crate::complain::complain;
use crate::detach::Step;
use crate::error::{During, Error};
use crate::inherited::FIRST;
use crate::plan::Plan;
use crate::trusted::{Place, kind};

pub(crate) const NULL: &str = "/dev/null";

/// `/dev/null`, opened while the starter can still say that it is not there.
///
/// It also fills the places of standard descriptors that came closed, so that whatever is opened after it (pipe, lock,
/// sockets) is not taken for a standard stream.
pub(crate) fn open_null() -> Result<OwnedFd, Error> {
    let null = || -> io::Result<OwnedFd> {
        let null = open(NULL, OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
        let found = fstat(&null)?;
        if kind(&found) != SFlag::S_IFCHR || !is_null_device(found.st_rdev) {
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

/// Whether a device number is that of `/dev/null`, which a mistaken `-o /dev/null` of root's can turn into a file.
#[cfg(target_os = "linux")]
pub(crate) fn is_null_device(device: nix::libc::dev_t) -> bool {
    device == nix::libc::makedev(1, 3)
}

/// Elsewhere the number differs from system to system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_null_device(_: nix::libc::dev_t) -> bool {
    true
}

/// Step 9: standard input from `/dev/null`, output and error there or appended to a log.
#[inline]
pub(crate) fn connect_streams(null: &OwnedFd, plan: &Plan) -> Result<(), Error> {
    let none = plan.stdout.is_none() && plan.stderr.is_none();
    let [out, err] = if none { [None, None] } else { open_logs(plan)? };
    dup2_stdin(null).during(Step::ConnectStreams, "standard input")?;
    dup2_stdout(out.as_ref().unwrap_or(null)).during(Step::ConnectStreams, "standard output")?;
    dup2_stderr(err.as_ref().unwrap_or(null)).during(Step::ConnectStreams, "standard error")
}

fn open_logs(plan: &Plan) -> Result<[Option<OwnedFd>; 2], Error> {
    let log = |path: &Option<PathBuf>| path.as_deref().map(|path| open_log(path, plan.privileges.owner())).transpose();
    let logs = [log(&plan.stdout)?, log(&plan.stderr)?];
    _ = LOGS.set([plan.stdout.clone(), plan.stderr.clone()]);
    Ok(logs)
}

/// The log files, to be opened anew.
static LOGS: OnceLock<[Option<PathBuf>; 2]> = OnceLock::new();

/// Opens the logs again by their paths, after they were rotated. Where that fails (the service's user may not create
/// files in the directory, say), the old file goes on being used, and it is said in it.
pub(crate) fn reopen_logs() {
    let [out, err] = LOGS.get().map_or([None, None], |logs| logs.each_ref().map(Option::as_deref));
    let reopen =
        |path: Option<&Path>, connect: fn(OwnedFd) -> nix::Result<()>| match path.map(|path| open_log(path, None)) {
            None => {}
            Some(Ok(log)) => _ = connect(log),
            Some(Err(error)) => complain(&audience::name(), &format!("{error}: going on with the old file")),
        };
    reopen(out, dup2_stdout);
    reopen(err, dup2_stderr);
}

/// Opens a log to append to, created with mode 0640, and gives it to the service's user.
pub(crate) fn open_log(path: &Path, owner: Option<Uid>) -> Result<OwnedFd, Error> {
    let log = || -> io::Result<OwnedFd> {
        let place = Place::of(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
        let (log, found) = match place.open(flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP;
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
