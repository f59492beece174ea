//! What /proc tells about other processes. It may be missing, hide them (hidepid), refuse a process
//! that has fewer rights than they have, or belong to another pid namespace, where the same numbers
//! mean other processes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::unistd::{Pid, SysconfVar, read, sysconf};

use super::stat::{FileStat, stat};
use crate::sys::safe_open::same_file;
use crate::sys::{FIRST, retry};

/// Checks whether the numbers in /proc are those of this process's pid namespace.
pub(crate) fn is_ours() -> bool {
    matches!(numbers("self").as_deref(), Some([_]))
}

/// Returns the text of a file of /proc. The names in it need not be text: that of a process is cut at
/// 15 bytes, and the path of another's socket may hold any.
pub(crate) fn text(path: &str) -> Option<String> {
    let mut file = File::open(path).ok()?;
    // Enough for one read(2): the system does not tell the size.
    let mut text = Vec::with_capacity(4096);
    file.read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The numbers of a process: the first is that in /proc's pid namespace, the last that in its own.
fn numbers(process: &str) -> Option<Vec<Pid>> {
    let status = text(&format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().map(pid_of).collect()
}

fn pid_of(text: &str) -> Option<Pid> {
    Some(Pid::from_raw(text.parse().ok()?))
}

/// Returns the children of this process by their numbers here; `None` if the system does not tell.
pub(crate) fn children() -> Option<Vec<Pid>> {
    let children = std::fs::read_to_string("/proc/thread-self/children").ok()?;
    let level = numbers("thread-self")?.len().checked_sub(1)?;
    // Of each child's numbers, the one in this process's pid namespace.
    let number_here = |child| match level {
        0 => pid_of(child),
        _ => numbers(child)?.get(level).copied(),
    };
    let children = children.split_whitespace();
    Some(children.filter_map(number_here).collect())
}

/// Returns the number of a process in its own pid namespace.
pub(crate) fn innermost(pid: Pid) -> Option<Pid> {
    if !is_ours() {
        return None;
    }
    numbers(&pid.to_string())?.last().copied()
}

/// Checks whether a process is seen to be in a pid namespace below this process's, as in a
/// container.
#[cfg(target_os = "linux")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) fn is_below(pid: Pid) -> bool {
    is_ours() && matches!(numbers(&pid.to_string()).as_deref(), Some([_, _, ..]))
}

/// Checks whether a process has this file open and locked by flock(2); `None` if that cannot be
/// seen.
pub(crate) fn holds(pid: Pid, file: &FileStat) -> Option<bool> {
    if !is_ours() {
        return None;
    }
    holds_lock(pid, file)
}

fn holds_lock(pid: Pid, file: &FileStat) -> Option<bool> {
    let descriptors = format!("/proc/{pid}/fd");
    // A daemon opens it early, and listing the directory takes longer.
    for fd in FIRST..FIRST + 3 {
        if leads_to(&Path::new(&descriptors).join(fd.to_string()), file) == Ok(true)
            && is_lock(pid, OsStr::new(&fd.to_string()))
        {
            return Some(true);
        }
    }
    has_descriptor(pid, file, |descriptor| is_lock(pid, descriptor))
}

/// Checks whether a process has this file open; `None` if that cannot be seen.
#[cfg(target_os = "linux")]
pub(crate) fn has_open(pid: Pid, file: &FileStat) -> Option<bool> {
    if !is_ours() {
        return None;
    }
    has_descriptor(pid, file, |_| true)
}

fn has_descriptor(pid: Pid, file: &FileStat, is_meant: impl Fn(&OsStr) -> bool) -> Option<bool> {
    let directory = format!("/proc/{pid}/fd");
    for entry in std::fs::read_dir(&directory).ok()? {
        let entry = entry.ok()?;
        match leads_to(&entry.path(), file) {
            Ok(true) if is_meant(&entry.file_name()) => return Some(true),
            // Closed meanwhile.
            Ok(_) | Err(Errno::ENOENT) => {}
            // Listing the descriptors and looking where they lead are different rights.
            Err(_) => return None,
        }
    }
    // One that has ended shows no descriptors, even if it still has its locks for a moment. Nor does
    // one whose first thread has ended. It may have ended while they were looked at.
    std::fs::read_dir(directory).ok()?.next()?.ok()?;
    Some(false)
}

fn leads_to(descriptor: &Path, file: &FileStat) -> nix::Result<bool> {
    stat(descriptor).map(|found| same_file(&found, file))
}

/// Checks whether the flock(2) of a file is held through this descriptor.
fn is_lock(pid: Pid, descriptor: &OsStr) -> bool {
    let path = format!("/proc/{pid}/fdinfo/{}", descriptor.to_string_lossy());
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut info = [0; 1024];
    let Ok(length) = retry(|| read(&file, &mut info)) else {
        return false;
    };
    let mut lines = info[..length].split(|&byte| byte == b'\n');
    lines.any(|line| line.starts_with(b"lock:") && line.windows(5).any(|word| word == b"FLOCK"))
}

/// Returns the emulator of another processor that runs this program. It shows itself in the place of
/// the program, but for one path that qemu-user does not know.
#[cfg(target_os = "linux")]
pub(crate) fn emulator() -> Option<String> {
    let shown = std::fs::read_link("/proc/self/exe").ok()?;
    let real = std::fs::read_link("/proc/thread-self/exe").ok()?;
    if real == shown {
        return None;
    }
    Some(real.file_name()?.to_string_lossy().into_owned())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn emulator() -> Option<String> {
    None
}

/// Returns the numbers of the processes in /proc, whichever pid namespace it belongs to.
pub(crate) fn pids() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| pid_of(entry.ok()?.file_name().to_str()?))
}

/// Finds a process that holds the flock(2) of this file, if one can be seen.
pub(crate) fn holder(file: &FileStat) -> Option<Pid> {
    if !is_ours() {
        return None;
    }
    let is_holder = |pid: &Pid| holds_lock(*pid, file) == Some(true);
    pids().find(is_holder)
}

/// Checks whether there is no such process any more, or only its zombie.
pub(crate) fn has_ended(pid: Pid) -> bool {
    match nix::sys::signal::kill(pid, None) {
        Err(Errno::ESRCH) => true,
        _ => matches!(field(pid, Field::State).as_deref(), Some("Z" | "X")),
    }
}

/// Returns the time at which a process was started.
#[cfg(target_os = "linux")]
pub(crate) fn started(pid: Pid) -> Option<SystemTime> {
    let started = duration(number(pid, Field::Started)?)?;
    // First: a pause between the two makes it earlier, never later.
    let now = SystemTime::now();
    let uptime = Duration::from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok()?);
    now.checked_sub(uptime.saturating_sub(started))
}

/// Returns the time of so many ticks.
#[cfg(target_os = "linux")]
fn duration(ticks: u64) -> Option<Duration> {
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    Some(Duration::from_millis(
        ticks.checked_mul(1000)?.checked_div(per_second)?,
    ))
}

/// What a process uses. `None` where the system does not say.
#[cfg(all(feature = "cli", target_os = "linux"))]
#[derive(Default)]
pub(crate) struct Usage {
    /// Resident, in bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) processor_time: Option<Duration>,
    pub(crate) descriptors: Option<usize>,
    pub(crate) threads: Option<u64>,
}

#[cfg(all(feature = "cli", target_os = "linux"))]
impl Usage {
    /// Looks up what a process uses.
    pub(crate) fn of(pid: Pid) -> Self {
        Self {
            memory: resident(pid),
            processor_time: processor_time(pid),
            descriptors: descriptors(pid),
            threads: number(pid, Field::Threads),
        }
    }
}

#[cfg(all(feature = "cli", target_os = "linux"))]
fn resident(pid: Pid) -> Option<u64> {
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    number(pid, Field::Resident)?.checked_mul(page)
}

#[cfg(all(feature = "cli", target_os = "linux"))]
fn processor_time(pid: Pid) -> Option<Duration> {
    let [user, system] = [Field::UserTime, Field::SystemTime].map(|field| number(pid, field));
    duration(user?.checked_add(system?)?)
}

#[cfg(all(feature = "cli", target_os = "linux"))]
fn descriptors(pid: Pid) -> Option<usize> {
    if !is_ours() {
        return None;
    }
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(open.count())
}

/// Checks whether a process has the name of this one. That is its program's, unless it has taken
/// another.
#[cfg(target_os = "linux")]
pub(crate) fn runs_this_program(pid: Pid) -> bool {
    let name = |process: &str| std::fs::read(format!("/proc/{process}/comm"));
    match (is_ours(), name("self"), name(&pid.to_string())) {
        (true, Ok(this), Ok(that)) => this == that,
        _ => false,
    }
}

/// Checks whether a process is suspended.
#[cfg(target_os = "linux")]
pub(crate) fn is_suspended(pid: Pid) -> bool {
    field(pid, Field::State).as_deref() == Some("T")
}

/// Checks whether a signal would end a process, which does not handle, block or ignore it. `false`
/// if that cannot be seen.
#[cfg(all(feature = "control", target_os = "linux"))]
pub(crate) fn would_end(pid: Pid, signal: nix::libc::c_int) -> bool {
    if !is_ours() {
        return false;
    }
    let Some(status) = text(&format!("/proc/{pid}/status")) else {
        return false;
    };
    let mut seen = 0;
    for line in status.lines() {
        if let Some(("SigBlk" | "SigIgn" | "SigCgt", mask)) = line.split_once(":\t") {
            match u64::from_str_radix(mask, 16) {
                Ok(mask) if mask & (1 << (signal - 1)) == 0 => seen += 1,
                _ => return false,
            }
        }
    }
    seen == 3
}

/// A field of /proc/PID/stat, by its place behind the name.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(all(feature = "cli", target_os = "linux")),
    allow(dead_code, reason = "a command asks for it")
)]
pub(crate) enum Field {
    State = 0,
    Parent = 1,
    Session = 3,
    UserTime = 11,
    SystemTime = 12,
    Threads = 17,
    Started = 19,
    Resident = 21,
}

/// Returns a field of /proc/PID/stat.
pub(crate) fn field(pid: Pid, field: Field) -> Option<String> {
    if !is_ours() {
        return None;
    }
    let [found] = fields(pid, [field])?;
    Some(found)
}

/// Returns fields of /proc/PID/stat, whichever pid namespace /proc belongs to.
pub(crate) fn fields<const N: usize>(pid: Pid, wanted: [Field; N]) -> Option<[String; N]> {
    let stat = text(&format!("/proc/{pid}/stat"))?;
    // The name stands in parentheses, and can hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut found = [const { String::new() }; N];
    for (at, wanted) in wanted.into_iter().enumerate() {
        fields
            .split_whitespace()
            .nth(wanted as usize)?
            .clone_into(&mut found[at]);
    }
    Some(found)
}

#[cfg(target_os = "linux")]
fn number(pid: Pid, wanted: Field) -> Option<u64> {
    field(pid, wanted)?.parse().ok()
}
