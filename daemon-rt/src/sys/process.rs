//! Processes and threads.

use std::ffi::c_int;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
#[cfg(target_os = "linux")]
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::sys::wait::WaitPidFlag;
use nix::time::ClockId;
use nix::unistd::{ForkResult, Pid, getpid};

use super::retry;

/// The proof that this process has one thread, so that a fork copies all of it.
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Looks once: `None` if there are several threads.
    pub(crate) fn now() -> Option<Self> {
        if threads() == 1 { Some(Self(())) } else { None }
    }

    /// Looks at the number of threads, for a while again and again: one that was joined lingers in the
    /// kernel until it gets a processor once more.
    ///
    /// # Errors
    /// The number of threads, in words.
    pub(crate) fn check() -> Result<Self, String> {
        const LINGER: Duration = Duration::from_millis(500);
        const PAUSE: Duration = Duration::from_micros(500);
        let mut began = None;
        loop {
            match threads() {
                1 => return Ok(Self(())),
                _ if began.get_or_insert_with(Instant::now).elapsed() < LINGER => {
                    std::thread::sleep(PAUSE);
                }
                0 => return Err("several threads may run".to_owned()),
                several => return Err(format!("{several} threads run")),
            }
        }
    }
}

/// The number of threads; 0 if there are several and the system does not tell how many, or a filter
/// keeps it from telling that there is one.
#[cfg(target_os = "linux")]
fn threads() -> libc::nlink_t {
    // It changes nothing: it only fails if there is another thread, or if a filter forbids it.
    if unshare(CloneFlags::CLONE_THREAD).is_ok() {
        return 1;
    }
    // A directory has two links of its own and one for each directory in it.
    match crate::sys::stat::stat(c"/proc/self/task") {
        Ok(task) => task.st_nlink.saturating_sub(2),
        Err(_) => 0,
    }
}

/// The number of threads; 0 if the system does not tell.
#[cfg(target_vendor = "apple")]
fn threads() -> c_int {
    // SAFETY: all zeros are a valid proc_taskinfo.
    let mut info: libc::proc_taskinfo = unsafe { mem::zeroed() };
    let size = c_int::try_from(mem::size_of_val(&info)).unwrap_or(0);
    let buffer = (&raw mut info).cast();
    // SAFETY: the buffer is writable and has this size.
    let written =
        unsafe { libc::proc_pidinfo(getpid().as_raw(), libc::PROC_PIDTASKINFO, 0, buffer, size) };
    if written == size {
        info.pti_threadnum
    } else {
        0
    }
}

/// The number of threads; 0 if the system does not tell.
#[cfg(target_os = "freebsd")]
fn threads() -> c_int {
    let name = [
        libc::CTL_KERN,
        libc::KERN_PROC,
        libc::KERN_PROC_PID,
        getpid().as_raw(),
    ];
    // SAFETY: all zeros are a valid kinfo_proc.
    let mut info: libc::kinfo_proc = unsafe { mem::zeroed() };
    let mut size = mem::size_of_val(&info);
    let buffer = (&raw mut info).cast();
    // SAFETY: there are four numbers, the buffer is writable and has this size, nothing is set.
    let result = unsafe { libc::sysctl(name.as_ptr(), 4, buffer, &raw mut size, ptr::null(), 0) };
    if result == 0 { info.ki_numthreads } else { 0 }
}

/// Nothing is known: a start needs the proof.
#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
fn threads() -> c_int {
    0
}

/// Forks this process.
#[inline]
pub(crate) fn fork(_alone: &SingleThreaded) -> nix::Result<ForkResult> {
    // SAFETY: the only thread calls fork. So no lock (allocator, stdio) is held by a thread that the
    // child lacks, and the child may do all that its parent could.
    unsafe { nix::unistd::fork() }
}

/// Sets the mask of file modes. nix's function would be another page of code for the daemon to map.
#[inline]
pub(crate) fn umask(mask: Mode) {
    // SAFETY: umask(2) has no precondition.
    unsafe { libc::umask(mask.bits()) };
}

/// Sets the nice value of this process, for which setpriority(2) has the number 0.
#[allow(
    clippy::cast_sign_loss,
    reason = "PRIO_PROCESS is 0, of another type with each C library"
)]
pub(crate) fn set_nice(value: c_int) -> nix::Result<()> {
    // SAFETY: setpriority(2) touches no memory.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, 0, value) }).map(drop)
}

/// Ends the process at once: no destructors, no atexit(3) handlers, no flush. Those are left to the
/// daemon.
#[inline]
pub(crate) fn exit_now(status: u8) -> ! {
    // SAFETY: _exit(2) has no precondition.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// Registers `function` to be called at exit(3), which std calls at the end of `main` and in
/// `std::process::exit`.
pub(crate) fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is a plain one of this library, which is never unloaded while its
    // program runs.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}

/// Flushes the streams of C code, so that a fork does not double what they have buffered.
pub(crate) fn flush_c_streams() {
    // SAFETY: a null pointer means all open output streams to fflush(3).
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(u8),
    Killed { signal: c_int, core: bool },
}

/// Returns how the child `pid` ended, and reaps it; `None` if it has not ended. `WNOHANG` does not
/// wait for that, `WNOWAIT` leaves the zombie.
pub(crate) fn wait(pid: Pid, options: WaitPidFlag) -> nix::Result<Option<End>> {
    match wait_for(libc::P_PID, pid, options)? {
        Some((_, end)) => Ok(Some(end)),
        None => Ok(None),
    }
}

/// Checks whether a process is a child of this one, running or not.
pub(crate) fn is_child(pid: Pid) -> bool {
    wait(pid, WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT).is_ok()
}

/// Checks whether this process has a child of any kind, running or not.
pub(crate) fn has_children() -> bool {
    let options = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    wait_for(libc::P_ALL, ANY, options) != Err(Errno::ECHILD)
}

/// Reaps a child that has ended, if there is one.
pub(crate) fn reap_any() -> Option<(Pid, End)> {
    wait_for(libc::P_ALL, ANY, WaitPidFlag::WNOHANG).ok()?
}

/// Reaps one process of a group, if one has ended; `false` if this process has no child in it.
pub(crate) fn reap_of_group(group: Pid) -> bool {
    wait_for(libc::P_PGID, group, WaitPidFlag::WNOHANG).is_ok()
}

/// For `P_ALL`, which asks for no number.
const ANY: Pid = Pid::from_raw(0);

/// Calls waitid(2). (nix's reaps a child that died of a real-time signal and then returns EINVAL,
/// and macOS has none.)
fn wait_for(
    which: libc::idtype_t,
    id: Pid,
    options: WaitPidFlag,
) -> nix::Result<Option<(Pid, End)>> {
    let id = libc::id_t::try_from(id.as_raw()).unwrap_or(0);
    let options = (options | WaitPidFlag::WEXITED).bits();
    // SAFETY: all zeros are a valid siginfo_t, whose pid 0 says that there was nothing to report.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    retry(|| {
        // SAFETY: `info` is writable and of the right type.
        Errno::result(unsafe { libc::waitid(which, id, &raw mut info, options) })
    })?;
    // SAFETY: waitid(2) has filled in the fields of a SIGCHLD, or left the zeros.
    let who = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    if who == 0 {
        return Ok(None);
    }
    let end = match info.si_code {
        libc::CLD_EXITED => End::Exited(status.to_le_bytes()[0]),
        code => End::Killed {
            signal: status,
            core: code == libc::CLD_DUMPED,
        },
    };
    Ok(Some((Pid::from_raw(who), end)))
}

/// Opens a descriptor that means this one process, even if another gets its number later.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) touches no memory.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = RawFd::try_from(fd).expect("a descriptor is an int");
    // SAFETY: it was just opened, and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process that a descriptor means.
#[cfg(target_os = "linux")]
pub(crate) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: c_int) -> nix::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null pointer stands for the information that kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Returns the time of day in this process's time zone; `None` if the C library cannot tell it.
pub(crate) fn local_time() -> Option<libc::tm> {
    let now = ClockId::CLOCK_REALTIME.now().ok()?.tv_sec();
    // SAFETY: all zeros are a valid tm.
    let mut time: libc::tm = unsafe { mem::zeroed() };
    // SAFETY: both outlive the call, and `time` is writable.
    let result = unsafe { libc::localtime_r(&raw const now, &raw mut time) };
    if result.is_null() { None } else { Some(time) }
}

/// The number of a process as std has it.
pub(crate) fn id_of(pid: Pid) -> u32 {
    pid.as_raw().unsigned_abs()
}

/// The process with a number that std has given.
pub(crate) fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a pid is positive"))
}

/// Checks whether this program was started with more privileges than its caller has: set-user-ID,
/// set-group-ID, file capabilities.
#[cfg(target_os = "linux")]
pub(crate) fn is_set_uid() -> bool {
    // SAFETY: getauxval(3) has no precondition.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Checks whether this program was started with more privileges than its caller has: set-user-ID,
/// set-group-ID.
#[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
pub(crate) fn is_set_uid() -> bool {
    // SAFETY: issetugid(2) has no precondition.
    unsafe { libc::issetugid() != 0 }
}

/// Checks whether this program was started with other ids than its caller has.
#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
pub(crate) fn is_set_uid() -> bool {
    use nix::unistd::{getegid, geteuid, getgid, getuid};

    geteuid() != getuid() || getegid() != getgid()
}

/// Checks whether this process is PID 1.
pub(crate) fn is_init() -> bool {
    getpid().as_raw() == 1
}
