//! Step 1: the inherited descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, fstat};

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::safe_open::same_file;
use crate::sys::{self, FIRST, StartOfMain, retry};

/// Closes every inherited descriptor except the three standard ones and those in `keep`.
pub(crate) fn close_descriptors(start: &StartOfMain, keep: &[RawFd]) -> Result<(), Error> {
    let mut keep = keep.to_vec();
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

/// Inherited descriptors that are closed only when `configure` has returned.
pub(crate) struct KnownDescriptors(Vec<(RawFd, nix::Result<FileStat>)>);

impl KnownDescriptors {
    /// Finds those that an argument names as `/dev/fd/N`, as a shell's `<(…)` does: `configure` may
    /// still open them. Those in `keep` are a protocol's.
    pub(crate) fn named_by_arguments(keep: &[RawFd]) -> Self {
        let arguments = std::env::args_os().skip(1);
        Self::known(
            arguments.filter_map(|argument| named_in(argument.as_bytes())),
            keep,
        )
    }

    /// Finds all but those in `keep`: in the foreground they stay open, but `configure` may yet
    /// decide to detach.
    pub(crate) fn all_but(keep: &[RawFd]) -> Self {
        match open_descriptors() {
            Ok(open) => Self::known(open.into_iter(), keep),
            Err(_) => Self(Vec::new()),
        }
    }

    fn known(numbers: impl Iterator<Item = RawFd>, keep: &[RawFd]) -> Self {
        let mut known = Vec::new();
        for fd in numbers {
            if fd >= FIRST && !keep.contains(&fd) {
                let found = fstat(sys::borrow_raw(fd));
                if found != Err(Errno::EBADF) {
                    known.push((fd, found));
                }
            }
        }
        Self(known)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().map(|&(fd, _)| fd)
    }

    /// Closes them. If `configure` has closed one, its number may mean another file by now: that is
    /// left open.
    pub(crate) fn close(self, start: &StartOfMain) -> Result<(), Error> {
        for (fd, then) in self.0 {
            let same = is_still(fd, then);
            if same.during(Step::CloseDescriptors, format_args!("descriptor {fd}"))? {
                sys::close(start, fd);
            }
        }
        Ok(())
    }
}

fn is_still(fd: RawFd, then: nix::Result<FileStat>) -> nix::Result<bool> {
    match fstat(sys::borrow_raw(fd)) {
        Err(Errno::EBADF) => Ok(false),
        now => Ok(same_file(&now?, &then?)),
    }
}

/// Finds the descriptor in an argument such as `/dev/fd/63` or `--config=/dev/fd/63`.
fn named_in(argument: &[u8]) -> Option<RawFd> {
    const MARKS: [&[u8]; 2] = [b"/dev/fd/", b"/proc/self/fd/"];
    for mark in MARKS {
        let mut windows = argument.windows(mark.len());
        if let Some(at) = windows.position(|window| window == mark) {
            let digits = &argument[at + mark.len()..];
            return std::str::from_utf8(digits).ok()?.parse().ok();
        }
    }
    None
}
