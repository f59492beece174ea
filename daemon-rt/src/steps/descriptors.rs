//! Step 1: the inherited descriptors.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};

use crate::daemon::{Daemon, Mode};
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::kept::InheritedFd;
use crate::sys::{self, FIRST, Start, StartOfMain, retry};

/// Closes the inherited descriptors, except the three standard ones, those in `passed`, which have an
/// owner, and those that are returned, which `configure` can take over: those in `kept`, and what the
/// arguments name, as `/dev/fd/63`, `--fd=7` or `7`. In the foreground all are returned: they stay
/// open, but `configure` may yet decide to detach.
pub(crate) fn close_descriptors(
    start: &Start,
    mode: Mode,
    passed: &[RawFd],
    kept: &[RawFd],
) -> Result<Vec<InheritedFd>, Error> {
    let wanted = || named_by_arguments().chain(kept.iter().copied());
    match (start, mode) {
        (Start::OfMain(start), Mode::Detach) => {
            let wanted = find(wanted(), passed);
            let mut keep = passed.to_vec();
            keep.extend(wanted.iter().map(|one| one.fd));
            close_others(start, keep)?;
            Ok(wanted)
        }
        (Start::OfMain(_), _) => match open_descriptors() {
            Ok(open) => Ok(find(open.into_iter(), passed)),
            Err(_) => Ok(find(wanted(), passed)),
        },
        (Start::Late(_), _) => {
            let noted = sys::noted().during(Step::CloseDescriptors, "those before `main`")?;
            let mut noted = noted.to_vec();
            noted.retain(|one| !passed.contains(&one.fd));
            if mode != Mode::Detach {
                return Ok(noted);
            }
            let wanted: Vec<RawFd> = wanted().collect();
            let (wanted, others) = noted.into_iter().partition(|one| wanted.contains(&one.fd));
            close_inherited(start, others)?;
            Ok(wanted)
        }
    }
}

/// Closes every descriptor above 2 except those in `keep`.
pub(super) fn close_others(start: &StartOfMain, mut keep: Vec<RawFd>) -> Result<(), Error> {
    keep.sort_unstable();
    let mut first = FIRST;
    for kept in keep {
        if kept > first {
            close_gap(start, first, kept - 1)?;
        }
        first = first.max(kept + 1);
    }
    close_gap(start, first, RawFd::MAX)
}

/// Closes the descriptors `first..=last`: by one close_range(2) or, where the kernel has none or a
/// filter refuses it, one by one.
fn close_gap(start: &StartOfMain, first: RawFd, last: RawFd) -> Result<(), Error> {
    if sys::close_range(start, first, last).is_ok() {
        return Ok(());
    }
    let open = open_descriptors().during(
        Step::CloseDescriptors,
        format_args!("descriptors from {first} up"),
    )?;
    for fd in open {
        if (first..=last).contains(&fd) {
            sys::close(start, fd);
        }
    }
    Ok(())
}

/// The open descriptors, standard ones included, as the system lists them. If it does not, each
/// number is tried.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    for directory in ["/dev/fd", "/proc/self/fd"] {
        if let Ok(found) = list_descriptors(directory) {
            return Ok(found);
        }
    }
    probe_descriptors()
}

/// The list has the descriptor of the directory too, which is closed when the list is complete.
fn list_descriptors(directory: &str) -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        if let Some(Ok(fd)) = entry?.file_name().to_str().map(str::parse) {
            found.push(fd);
        }
    }
    Ok(found)
}

/// Asks poll(2), a thousand at a time, which descriptors up to the limit are valid. The limit may
/// have been lowered after they were opened, so at least 65,536 are asked for.
fn probe_descriptors() -> io::Result<Vec<RawFd>> {
    const LEAST: RawFd = 1 << 16;
    const UNLIMITED: RawFd = 1 << 20;
    const BATCH: RawFd = 1024;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let end = match RawFd::try_from(hard) {
        _ if hard == libc::RLIM_INFINITY => UNLIMITED,
        Ok(hard) => hard.max(LEAST),
        Err(_) => RawFd::MAX,
    };
    // poll(2) takes no more than the soft limit.
    let batch = match RawFd::try_from(soft) {
        Ok(soft) => soft.clamp(1, BATCH),
        Err(_) => BATCH,
    };

    let (mut open, mut first) = (Vec::new(), 0);
    while first < end {
        let last = end.min(first.saturating_add(batch));
        let ask = |fd| PollFd::new(sys::borrow_raw(fd), PollFlags::empty());
        let mut asked: Vec<_> = (first..last).map(ask).collect();
        retry(|| poll(&mut asked, PollTimeout::ZERO))?;
        for fd in &asked {
            if matches!(fd.revents(), Some(events) if !events.contains(PollFlags::POLLNVAL)) {
                open.push(fd.as_fd().as_raw_fd());
            }
        }
        first = last;
    }
    Ok(open)
}

/// The numbers at the end of the arguments.
fn named_by_arguments() -> impl Iterator<Item = RawFd> {
    let arguments = std::env::args_os().skip(1);
    arguments.filter_map(|argument| number_at_end(argument.as_bytes()))
}

fn find(numbers: impl Iterator<Item = RawFd>, passed: &[RawFd]) -> Vec<InheritedFd> {
    let mut found: Vec<InheritedFd> = Vec::new();
    for fd in numbers {
        let known = fd < FIRST || passed.contains(&fd) || found.iter().any(|one| one.fd == fd);
        if !known {
            found.extend(InheritedFd::find(fd));
        }
    }
    found
}

/// What is inherited and still open, while `configure` runs. It is not in the `Daemon`, which
/// `configure` can copy, exchange and keep.
static INHERITED: Mutex<Vec<InheritedFd>> = Mutex::new(Vec::new());

fn inherited() -> MutexGuard<'static, Vec<InheritedFd>> {
    INHERITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets `configure` take these over.
pub(crate) fn offer(descriptors: Vec<InheritedFd>) {
    *inherited() = descriptors;
}

/// Returns those that `configure` has not taken over, which it cannot do from now on.
pub(crate) fn take_back() -> Vec<InheritedFd> {
    mem::take(&mut inherited())
}

/// Closes inherited descriptors. If the program has closed one, its number may mean another file by
/// now: that is left open, as is one that it has taken over.
pub(crate) fn close_inherited(start: &Start, inherited: Vec<InheritedFd>) -> Result<(), Error> {
    for one in inherited {
        sys::close_inherited(start, &one).during(
            Step::CloseDescriptors,
            format_args!("descriptor {}", one.fd),
        )?;
    }
    Ok(())
}

/// Reads the number at the end of an argument.
fn number_at_end(argument: &[u8]) -> Option<RawFd> {
    let before = argument.iter().rposition(|byte| !byte.is_ascii_digit());
    let digits = match before {
        Some(before) => &argument[before + 1..],
        None => argument,
    };
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads which descriptors the settings keep.
///
/// # Errors
/// If one is not open, for the reason `not_open`: what this library opens next would get its number.
pub(crate) fn kept(daemon: &Daemon, not_open: &str) -> Result<Vec<RawFd>, Error> {
    let mut kept = Vec::new();
    for &fd in &daemon.keep_fds {
        kept.push(checked(fd, not_open, || format!("keep_fds {fd}"))?);
    }
    for name in &daemon.keep_fds_from {
        if let Some(value) = std::env::var_os(name) {
            let fd = sys::parse(&value).unwrap_or(-1);
            kept.push(checked(fd, not_open, || {
                format!("keep_fds_from {name:?}={value:?}")
            })?);
        }
    }
    Ok(kept)
}

fn checked(fd: RawFd, not_open: &str, setting: impl Fn() -> String) -> Result<RawFd, Error> {
    if fd < FIRST {
        let problem = "must be the number of a descriptor, 3 or higher";
        return Err(Error::usage(setting(), problem));
    }
    if InheritedFd::find(fd).is_none() {
        return Err(Error::usage(setting(), not_open));
    }
    Ok(fd)
}

impl Daemon {
    /// Takes over an inherited descriptor in `configure`, which has its number from an argument, a
    /// variable or a file: the service keeps it, and the programs that it executes do not get it.
    ///
    /// Before `configure` runs, a service that detaches has closed every inherited descriptor that
    /// is neither among [`keep_fds`](Self::keep_fds) and [`keep_fds_from`](Self::keep_fds_from) nor
    /// named at the end of an argument, as in `--tun-fd 7`, `--tun-fd=7` or `/dev/fd/7`.
    ///
    /// ```no_run
    /// use std::os::fd::OwnedFd;
    ///
    /// use daemon_rt::{Daemon, Error};
    ///
    /// fn configure(daemon: &mut Daemon) -> Result<OwnedFd, Error> {
    ///     daemon.keep_fd(7)
    /// }
    /// ```
    ///
    /// # Errors
    /// If the descriptor was not inherited, is closed, or was taken over before.
    pub fn keep_fd(&mut self, fd: RawFd) -> Result<OwnedFd, Error> {
        let failed = |problem: String| Error::usage(format!("descriptor {fd}"), problem);
        let mut inherited = inherited();
        let Some(at) = inherited.iter().position(|one| one.fd == fd) else {
            let problem = "it was not inherited, or step 1 has closed it: use `keep_fds`, `keep_fds_from` or an argument that ends in its number";
            return Err(failed(problem.to_owned()));
        };
        sys::adopt(&inherited.remove(at)).map_err(|error| failed(error.to_string()))
    }
}
