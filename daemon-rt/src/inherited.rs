//! Steps 1–4: what a process inherits from whoever started it, and a daemon must not keep.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{FileStat, fstat};

use crate::detach::Step;
use crate::error::{During, Error};
use crate::sys::{self, StartOfMain};
use crate::trusted::same_file;

/// The first descriptor that is not one of the three standard streams.
pub(crate) const FIRST: RawFd = 3;

// Step 1: descriptors

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
            .map(|fd| PollFd::new(sys::peek(fd), PollFlags::empty()))
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

/// Repeats a call for as long as signals interrupt it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
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
            .map(|fd| (fd, fstat(sys::peek(fd))));
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
            let same = match fstat(sys::peek(fd)) {
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

// Step 2: signals

/// The signals by which a caller may tell its child to outlive it, as nohup(1) does. The starter,
/// which acts for the caller, goes on ignoring them; the daemon does not.
const CALLERS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Which of the signals that the caller ignored the starter goes on ignoring.
#[derive(Clone, Copy, Default)]
pub(crate) struct StillIgnored([bool; CALLERS.len()]);

impl StillIgnored {
    pub(crate) fn contains(self, signal: libc::c_int) -> bool {
        CALLERS
            .iter()
            .zip(self.0)
            .any(|(&ignored, still)| still && ignored == signal)
    }

    /// Completes step 2 in the daemon.
    #[inline]
    pub(crate) fn reset(self) -> Result<(), Error> {
        CALLERS
            .into_iter()
            .filter(|&signal| self.contains(signal))
            .try_for_each(reset)
    }
}

/// Puts every signal that is ignored back to its default. Handlers do not survive exec, so there
/// are none but those that this program's own runtime has installed, and they stay; so does the
/// ignored SIGPIPE, which is Rust's doing.
pub(crate) fn reset_signals() -> Result<StillIgnored, Error> {
    let is_ignored = |signal| {
        sys::is_ignored(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
    };
    let mut still = StillIgnored::default();
    for (still, signal) in still.0.iter_mut().zip(CALLERS) {
        *still = is_ignored(signal)?;
    }
    for signal in 1..=sys::LAST_SIGNAL {
        if signal != libc::SIGPIPE && !CALLERS.contains(&signal) && is_ignored(signal)? {
            reset(signal)?;
        }
    }
    Ok(still)
}

fn reset(signal: libc::c_int) -> Result<(), Error> {
    sys::reset(signal).during(Step::ResetSignals, format_args!("signal {signal}"))
}

// Step 3: the signal mask

/// Lets every signal through.
#[inline]
pub(crate) fn unblock_signals() -> Result<(), Error> {
    sys::unblock_signals().during(Step::UnblockSignals, "all signals")
}

// Step 4: the environment

/// What everyone may keep: language and time zone.
const KEPT: [&str; 4] = ["LANG", "LANGUAGE", "LC_*", "TZ"];
/// As systemd sets it for system services.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What becomes of the environment.
pub(crate) struct EnvironmentPlan {
    /// The inherited one, in memory.
    pub(crate) inherited: sys::InheritedEnvironment,
    /// What else is kept of it.
    pub(crate) keep: Vec<OsString>,
    /// What is said of the user as whom the service runs.
    pub(crate) account: Vec<(&'static str, OsString)>,
}

/// Replaces the environment by what is kept of the caller's, the system's `PATH`, and what is said
/// of the user; where `keep` names one of these, the caller's value stays. The inherited strings
/// are overwritten in memory.
pub(crate) fn clean_environment(start: &StartOfMain, plan: &EnvironmentPlan) -> Result<(), Error> {
    let mut entries: Vec<CString> = Vec::new();
    for entry in sys::environment(start) {
        let equals = entry.to_bytes().iter().position(|&byte| byte == b'=');
        let Some(equals @ 1..) = equals else { continue };
        let name = &entry.to_bytes()[..equals];
        let kept = KEPT
            .iter()
            .map(OsStr::new)
            .chain(plan.keep.iter().map(OsString::as_os_str));
        if kept
            .into_iter()
            .any(|pattern| matches(pattern.as_bytes(), name))
            && !is_among(&entries, name)
        {
            entries.push(entry.to_owned());
        }
    }
    let account = plan
        .account
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    for (name, value) in account.chain([("PATH", PATH.as_bytes())]) {
        if !is_among(&entries, name.as_bytes()) {
            let entry = [name.as_bytes(), b"=", value].concat();
            entries.push(CString::new(entry).during(Step::CleanEnvironment, name)?);
        }
    }
    sys::set_environment(start, entries);
    plan.inherited.erase();
    Ok(())
}

/// Whether a variable of this name is among `NAME=value` entries.
fn is_among(entries: &[CString], name: &[u8]) -> bool {
    entries.iter().any(|entry| {
        entry
            .to_bytes()
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(b"="))
    })
}

/// Whether this can be the name of a variable, perhaps with a `*` at its end.
pub(crate) fn is_pattern(name: &OsStr) -> bool {
    let exact = name
        .as_bytes()
        .strip_suffix(b"*")
        .unwrap_or(name.as_bytes());
    !name.is_empty() && !exact.iter().any(|byte| b"=*\0".contains(byte))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', beginning)) => name.starts_with(beginning),
        _ => name == pattern,
    }
}

/// A variable's value, taken out of the environment so that nothing started later can see it.
pub(crate) fn take_variable(start: &StartOfMain, name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    sys::unset(start, name);
    Some(value)
}
