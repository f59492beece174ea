//! Step 1: the inherited descriptors.

use std::io;
use std::os::fd::RawFd;
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

/// Closes every inherited descriptor but the three standard ones and those in `keep`.
pub(crate) fn close_descriptors(start: &StartOfMain, keep: &[RawFd]) -> Result<(), Error> {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut first = FIRST;
    for &kept in keep.iter().filter(|&&fd| fd >= FIRST) {
        if kept > first {
            close_gap(start, first, kept - 1)?;
        }
        first = first.max(kept + 1);
    }
    close_gap(start, first, RawFd::MAX)
}

/// One close_range(2) where the kernel has it and no filter refuses it; else one by one those that
/// are open.
fn close_gap(start: &StartOfMain, first: RawFd, last: RawFd) -> Result<(), Error> {
    if sys::close_range(start, first, last).is_ok() {
        return Ok(());
    }
    let open = open_descriptors().during(
        Step::CloseDescriptors,
        format_args!("descriptors from {first} up"),
    )?;
    open.into_iter()
        .filter(|fd| (first..=last).contains(fd))
        .for_each(|fd| sys::close(start, fd));
    Ok(())
}

/// The open descriptors, standard ones included, as the system lists them, or else found by asking
/// for each.
pub(crate) fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let Ok(directory) =
        std::fs::read_dir("/dev/fd").or_else(|_| std::fs::read_dir("/proc/self/fd"))
    else {
        return probe_descriptors();
    };
    // It lists the descriptor of the directory as well, which is closed when the list is complete.
    let numbers = directory.map(|entry| {
        Ok(entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok()))
    });
    numbers
        .filter_map(Result::transpose)
        .collect::<io::Result<_>>()
        .or_else(|_| probe_descriptors())
}

/// Asks poll(2), a thousand at a time, which descriptors up to the limit are not invalid. The limit
/// may have been lowered since they were opened, hence at least 65,536.
fn probe_descriptors() -> io::Result<Vec<RawFd>> {
    const LEAST: RawFd = 1 << 16;
    const UNLIMITED: libc::rlim_t = 1 << 20;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let hard = if hard == libc::RLIM_INFINITY {
        UNLIMITED
    } else {
        hard
    };
    let end = RawFd::try_from(hard).unwrap_or(RawFd::MAX).max(LEAST);
    let batch = usize::try_from(soft.clamp(1, 1024)).unwrap_or(1);

    let mut open = Vec::new();
    for first in (0..end).step_by(batch) {
        let last = end.min(first.saturating_add(RawFd::try_from(batch).unwrap_or(1)));
        let mut asked: Vec<_> = (first..last)
            .map(|fd| PollFd::new(sys::borrow_raw(fd), PollFlags::empty()))
            .collect();
        retry(|| poll(&mut asked, PollTimeout::ZERO))?;
        let valid = |answer: &PollFd| {
            answer
                .revents()
                .is_some_and(|events| !events.contains(PollFlags::POLLNVAL))
        };
        open.extend(
            (first..last)
                .zip(&asked)
                .filter(|(_, answer)| valid(answer))
                .map(|(fd, _)| fd),
        );
    }
    Ok(open)
}

/// Inherited descriptors that are closed only when `configure` has returned.
pub(crate) struct KnownDescriptors(Vec<(RawFd, nix::Result<FileStat>)>);

impl KnownDescriptors {
    /// Those that an argument names as `/dev/fd/N`, as a shell's `<(…)` does: `configure` may still
    /// open them. Not those in `keep`, which are a protocol's.
    pub(crate) fn named_by_arguments(keep: &[RawFd]) -> Self {
        let named = std::env::args_os()
            .skip(1)
            .filter_map(|argument| named_in(argument.as_bytes()));
        Self::known(named.filter(|fd| !keep.contains(fd)))
    }

    /// All but those in `keep`: in the foreground they are left alone, but `configure` may yet
    /// decide to detach.
    pub(crate) fn all_but(keep: &[RawFd]) -> Self {
        Self::known(
            open_descriptors()
                .unwrap_or_default()
                .into_iter()
                .filter(|fd| !keep.contains(fd)),
        )
    }

    fn known(numbers: impl Iterator<Item = RawFd>) -> Self {
        let known = numbers
            .filter(|&fd| fd >= FIRST)
            .map(|fd| (fd, fstat(sys::borrow_raw(fd))));
        Self(
            known
                .filter(|(_, found)| *found != Err(Errno::EBADF))
                .collect(),
        )
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().map(|&(fd, _)| fd)
    }

    /// Closes them, except where `configure` has closed one and the number means another file by
    /// now.
    pub(crate) fn close(self, start: &StartOfMain) -> Result<(), Error> {
        for (fd, then) in self.0 {
            let same = match fstat(sys::borrow_raw(fd)) {
                Err(Errno::EBADF) => Ok(false),
                now => now.and_then(|now| Ok(same_file(&now, &then?))),
            };
            if same.during(Step::CloseDescriptors, format_args!("descriptor {fd}"))? {
                sys::close(start, fd);
            }
        }
        Ok(())
    }
}

/// The descriptor in an argument such as `/dev/fd/63` or `--config=/dev/fd/63`.
fn named_in(argument: &[u8]) -> Option<RawFd> {
    const MARKS: [&[u8]; 2] = [b"/dev/fd/", b"/proc/self/fd/"];
    let digits = MARKS.iter().find_map(|mark| {
        let at = argument
            .windows(mark.len())
            .position(|window| window == *mark)?;
        Some(&argument[at + mark.len()..])
    })?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
