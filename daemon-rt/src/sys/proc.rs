//! What /proc tells of other processes. It may be missing, hide them (hidepid), be closed to a
//! process with fewer rights than they have, or belong to another pid namespace, where the same
//! numbers are other processes.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, stat};
use nix::unistd::{Pid, SysconfVar, read, sysconf};

use crate::sys::safe_open::same_file;
use crate::sys::{FIRST, retry};

/// Whether the numbers in /proc are those of this process's pid namespace.
pub(crate) fn is_ours() -> bool {
    numbers("self").is_some_and(|numbers| numbers.len() == 1)
}

/// The numbers of a process, from that in /proc's pid namespace to that in its own.
fn numbers(process: &str) -> Option<Vec<Pid>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace()
        .map(|number| number.parse().ok().map(Pid::from_raw))
        .collect()
}

/// The children of this process, by their numbers here; `None` where the system does not tell.
pub(crate) fn children() -> Option<Vec<Pid>> {
    let children = std::fs::read_to_string("/proc/thread-self/children").ok()?;
    // Of each child's numbers, the one in this process's pid namespace.
    let level = numbers("thread-self")?.len().checked_sub(1)?;
    let children = children.split_whitespace();
    if level == 0 {
        return Some(
            children
                .filter_map(|child| child.parse().ok())
                .map(Pid::from_raw)
                .collect(),
        );
    }
    Some(
        children
            .filter_map(|child| numbers(child)?.get(level).copied())
            .collect(),
    )
}

/// The number of a process in its own pid namespace.
pub(crate) fn innermost(pid: Pid) -> Option<Pid> {
    if !is_ours() {
        return None;
    }
    numbers(&pid.to_string())?.last().copied()
}

/// Whether a process is seen to be in a pid namespace below this process's, as in a container.
#[cfg(target_os = "linux")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) fn is_below(pid: Pid) -> bool {
    is_ours() && numbers(&pid.to_string()).is_some_and(|numbers| numbers.len() > 1)
}

/// Whether a process has this file open and locked by flock(2); `None` if that cannot be told.
pub(crate) fn holds(pid: Pid, file: &FileStat) -> Option<bool> {
    if !is_ours() {
        return None;
    }
    holds_lock(pid, file)
}

fn holds_lock(pid: Pid, file: &FileStat) -> Option<bool> {
    let descriptors = format!("/proc/{pid}/fd");
    // A daemon opens it early: to list the directory takes longer.
    for fd in FIRST..FIRST + 3 {
        if leads_to(&Path::new(&descriptors).join(fd.to_string()), file) == Ok(true)
            && is_lock(pid, OsStr::new(&fd.to_string()))
        {
            return Some(true);
        }
    }
    // One that has ended has no descriptors, and one whose first thread has ended shows none.
    let mut holds = None;
    for entry in std::fs::read_dir(&descriptors).ok()? {
        let entry = entry.ok()?;
        match leads_to(&entry.path(), file) {
            Ok(true) if is_lock(pid, &entry.file_name()) => return Some(true),
            Ok(_) => holds = Some(false),
            // Closed meanwhile.
            Err(Errno::ENOENT) => {}
            // To list the descriptors and to look where they lead are different rights.
            Err(_) => return None,
        }
    }
    holds
}

fn leads_to(descriptor: &Path, file: &FileStat) -> nix::Result<bool> {
    stat(descriptor).map(|found| same_file(&found, file))
}

/// Whether the flock(2) of a file is held through this descriptor.
fn is_lock(pid: Pid, descriptor: &OsStr) -> bool {
    let mut info = [0; 1024];
    let path = format!("/proc/{pid}/fdinfo/{}", descriptor.to_string_lossy());
    let length = File::open(path)
        .and_then(|file| Ok(retry(|| read(&file, &mut info))?))
        .unwrap_or(0);
    let mut lines = info[..length].split(|&byte| byte == b'\n');
    lines.any(|line| line.starts_with(b"lock:") && line.windows(5).any(|word| word == b"FLOCK"))
}

/// Some process that holds the flock(2) of this file, if one can be seen.
pub(crate) fn holder(file: &FileStat) -> Option<Pid> {
    if !is_ours() {
        return None;
    }
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        if holds_lock(pid, file) == Some(true) {
            return Some(pid);
        }
    }
    None
}

/// Whether there is no such process any more, or only its zombie.
pub(crate) fn has_ended(pid: Pid) -> bool {
    match nix::sys::signal::kill(pid, None) {
        Err(Errno::ESRCH) => true,
        _ => field(pid, 0).is_some_and(|state| matches!(state.as_str(), "Z" | "X")),
    }
}

/// When a process was started.
#[cfg(target_os = "linux")]
pub(crate) fn started(pid: Pid) -> Option<SystemTime> {
    // In ticks since the boot.
    let ticks: u64 = field(pid, 19)?.parse().ok()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    // First: a pause between the two makes it earlier, never later.
    let now = SystemTime::now();
    let uptime = Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?);
    let age = uptime.saturating_sub(Duration::from_millis(ticks.checked_mul(1000)? / per_second));
    now.checked_sub(age)
}

/// Whether a process has the name of this one, which is that of its program unless it has taken
/// another.
#[cfg(target_os = "linux")]
pub(crate) fn runs_this_program(pid: Pid) -> bool {
    let name = |process: &str| std::fs::read(format!("/proc/{process}/comm")).ok();
    is_ours() && name("self").is_some_and(|this| name(&pid.to_string()) == Some(this))
}

/// Whether a process is suspended.
#[cfg(target_os = "linux")]
pub(crate) fn is_suspended(pid: Pid) -> bool {
    field(pid, 0).is_some_and(|state| state == "T")
}

/// A field of /proc/PID/stat behind the name, which stands in parentheses and can hold anything: 0
/// is the state, 1 the parent, 3 the session.
pub(crate) fn field(pid: Pid, number: usize) -> Option<String> {
    if !is_ours() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(number)
        .map(str::to_owned)
}
