//! System calls that neither std nor nix has in a safe form: the only file of this crate with
//! `unsafe`.
//!
//! Most of it runs in the keeper's child between fork and exec, where everything that may be broken
//! is this process's own: it holds no Rust object that owns one of the descriptors in question, and
//! has a single thread.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{io, ptr};

use libc::{c_int, c_long, c_ulong, c_void, rlim_t};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid};

/// Every signal that can be ignored or blocked, as a mask like those in `/proc/PID/status`: all
/// from 1 to 64, those of real time and the two that the C library keeps for itself included, but
/// SIGKILL and SIGSTOP.
pub const ALL_SIGNALS: u64 = !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));

/// The mask of these signals, as in `/proc/PID/status`.
pub fn signal_set(signals: impl IntoIterator<Item = c_int>) -> u64 {
    signals
        .into_iter()
        .fold(0, |set, signal| set | 1 << (signal - 1))
}

/// The system calls by which a process is forked: architectures that are younger have fewer.
#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
pub const FORKS: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
];
/// The system calls by which a process is forked: architectures that are younger have fewer.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub const FORKS: &[c_long] = &[libc::SYS_clone, libc::SYS_clone3];

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A copy of this process's own descriptor of this number.
pub fn duplicate(number: c_int) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC touches no memory, and reports a number that is not open.
    let copy = check(c_long::from(unsafe {
        libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3)
    }))?;
    // SAFETY: it was just made, and no one else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(c_int::try_from(copy).unwrap_or(c_int::MAX)) })
}

/// Forks this process, which must have a single thread: then the child may do whatever it likes.
pub fn fork() -> io::Result<ForkResult> {
    // This changes nothing, and is refused where there are several. It asks no /proc, which may be
    // another namespace's.
    unshare(CloneFlags::CLONE_THREAD).expect("a fork in a process with a single thread");
    // SAFETY: the only thread is this one, and it is here: no lock of the allocator or of anything
    // else can be held.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Waits for the end of this child: its raw wait status.
pub(crate) fn wait_for(pid: Pid) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        match check(unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) }.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|_| status),
        }
    }
}

/// The beginning of the kernel's `struct clone_args`, which the `libc` crate does not have for
/// every system.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// A child with exactly this pid, see clone(2) on `set_tid`; an error (`EEXIST`) while somebody has
/// it. It has every signal blocked, none of this process's descriptors, does nothing until it is
/// killed, and dies with this thread. Needs root, or the capability to checkpoint.
pub(crate) fn child_with_pid(pid: i32) -> io::Result<()> {
    let how = CloneArgs {
        exit_signal: u64::try_from(libc::SIGCHLD).expect("a number"),
        set_tid: &raw const pid as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: a fork: the child gets a copy of this process's memory and this thread alone. It
    // calls nothing but system calls (a lock of the allocator's, say, may be held in it for ever),
    // and never returns from here.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of_val(&how)) };
    if result == 0 {
        let _ = prctl(
            libc::PR_SET_PDEATHSIG,
            c_ulong::try_from(libc::SIGKILL).unwrap_or(9),
            0,
        );
        let _ = close_range(0, RawFd::MAX);
        loop {
            // SAFETY: pause(2) has no precondition.
            unsafe { libc::pause() };
        }
    }
    let result = check(result);
    blocked.thread_set_mask()?;
    result.map(drop)
}

/// Reaps a child, by pid or any (-1), if one has ended: its pid and raw status. (nix fails where
/// the status names a signal of real time.)
pub(crate) fn wait_pid(pid: i32) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let pid = check(unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) }.into())?;
    let pid = i32::try_from(pid).expect("a pid");
    Ok((pid != 0).then_some((pid, status)))
}

/// Ignores a signal, or puts it back to its default. By the bare system call: the C library refuses
/// its own two.
pub(crate) fn set_ignored(signal: c_int, ignored: bool) -> io::Result<()> {
    let handler = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // The kernel's struct sigaction: the handler comes first on each architecture, and flags,
    // restorer and mask are 0.
    let action = [handler, 0, 0, 0, 0];
    // SAFETY: the action is at least as long as the kernel's struct, and installs no code; no old
    // one is asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            ptr::null::<u8>(),
            8_usize,
        )
    };
    check(result).map(drop)
}

/// Blocks exactly these signals. By the bare system call, for the same reason.
pub(crate) fn set_blocked(set: u64) -> io::Result<()> {
    let (how, old) = (libc::SIG_SETMASK, ptr::null::<u64>());
    // SAFETY: the set is the kernel's 64 bits and outlives the call; no old one is asked for.
    check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, old, 8_usize) })
        .map(drop)
}

/// Moves a descriptor to `number`, whatever that was before, to be inherited through exec and owned
/// by nobody.
pub(crate) fn place(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let _ = descriptor.into_raw_fd();
        return Ok(());
    }
    // SAFETY: in the child (see above) nothing that is still used owns `number`.
    check(unsafe { libc::dup2(descriptor.as_raw_fd(), number) }.into()).map(drop)
}

/// Moves a descriptor to `number`, whatever that was before; closed on exec.
pub(crate) fn move_to(descriptor: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == number {
        return Ok(descriptor);
    }
    // SAFETY: in the child (see above) nothing that is still used owns `number`.
    check(unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) }.into())?;
    // SAFETY: `number` was made by this call, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes all from `first` to `last`.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: in the child, and in the keeper before it opens anything, nothing owns what is
    // closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Two paths exchange what they name, in one step. (nix has renameat2(2) for glibc alone.)
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (one, other, here) = (one?, other?, libc::AT_FDCWD);
    let flags = libc::RENAME_EXCHANGE;
    // SAFETY: both paths end with a NUL byte and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            here,
            one.as_ptr(),
            here,
            other.as_ptr(),
            flags,
        )
    };
    check(result).map(drop)
}

/// Sets a resource limit, soft and hard.
#[allow(
    clippy::cast_possible_wrap,
    reason = "the resources are small numbers, of another type in each C library"
)]
pub(crate) fn set_rlimit(resource: u32, soft: rlim_t, hard: rlim_t) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the struct outlives the call, which only reads it.
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) }.into()).map(drop)
}

/// Sets this process's nice value.
pub(crate) fn set_nice(value: c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) }.into()).map(drop)
}

/// A prctl that takes numbers only.
pub(crate) fn prctl(option: c_int, second: c_ulong, third: c_ulong) -> io::Result<()> {
    let zero: c_ulong = 0;
    // SAFETY: the options used in this crate (bounding set, ambient set, securebits) take numbers,
    // no addresses.
    check(unsafe { libc::prctl(option, second, third, zero, zero) }.into()).map(drop)
}

/// The kernel's `__user_cap_header_struct`, version 3, for this process.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

/// The kernel's `__user_cap_data_struct`; version 3 takes two, the low and the high half.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes everything permitted effective, and these capabilities inheritable.
pub(crate) fn raise_capabilities(inheritable: u64) -> io::Result<()> {
    let mut header = CapHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: a header of version 3 and the two structs that go with it; both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) })?;
    for (half, data) in data.iter_mut().enumerate() {
        data.effective = data.permitted;
        data.inheritable = half_of(inheritable, half);
    }
    set_capabilities(data)
}

/// The low (0) or the high (1) half of a set.
fn half_of(set: u64, half: usize) -> u32 {
    u32::try_from((set >> (32 * half)) & 0xffff_ffff).expect("32 bits")
}

fn set_capabilities(data: [CapData; 2]) -> io::Result<()> {
    let mut header = CapHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    // SAFETY: a header of version 3 and the two structs that go with it; both outlive the call,
    // which reads the data.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const data) }).map(drop)
}

/// Makes these system calls, by number, fail with these errors, here and in all that descends from
/// here.
pub(crate) fn deny_system_calls(denied: &[(c_long, i32)]) -> io::Result<()> {
    let statement = |code: u32, k: u32, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &(number, errno) in denied {
        let number = u32::try_from(number).expect("the number of a system call");
        filter.push(statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            number,
            1,
        ));
        filter.push(statement(
            libc::BPF_RET,
            libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
            0,
        ));
    }
    filter.push(statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW, 0));
    let len = u16::try_from(filter.len()).expect("a few system calls");
    let program = libc::sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and what it points to outlive the call, which copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    check(result.into()).map(drop)
}

/// Gives a program file these capabilities, permitted and effective, as setcap(8) does.
pub fn set_file_capabilities(path: &Path, capabilities: u32) -> io::Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // The kernel's struct vfs_cap_data: permitted and inheritable, of the lower and the upper half.
    let value = [REVISION_2_EFFECTIVE, capabilities, 0, 0, 0]
        .map(u32::to_le_bytes)
        .concat();
    let (name, bytes) = (c"security.capability".as_ptr(), value.as_ptr().cast());
    // SAFETY: path, name and value outlive the call, which reads them.
    check(unsafe { libc::setxattr(path.as_ptr(), name, bytes, value.len(), 0) }.into()).map(drop)
}

/// Gives a directory an access control list: all rights for its owner and as the mask, these for
/// one user or group more, and r-x for all others. As setfacl(1) does.
pub fn set_access_list(
    path: &Path,
    user: Option<u32>,
    group: Option<u32>,
    rights: u16,
) -> io::Result<()> {
    const NO_ONE: u32 = u32::MAX;
    let [owner, one_user, own_group, one_group, mask, others] = [1u16, 2, 4, 8, 16, 32];
    let mut entries = vec![(owner, 7, NO_ONE)];
    entries.extend(user.map(|id| (one_user, rights, id)));
    entries.push((own_group, 5, NO_ONE));
    entries.extend(group.map(|id| (one_group, rights, id)));
    entries.extend([(mask, 7, NO_ONE), (others, 5, NO_ONE)]);
    let mut value = 2u32.to_le_bytes().to_vec();
    for (kind, rights, id) in entries {
        value.extend(kind.to_le_bytes());
        value.extend(rights.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (name, bytes) = (c"system.posix_acl_access".as_ptr(), value.as_ptr().cast());
    // SAFETY: path, name and value outlive the call, which reads them.
    check(unsafe { libc::setxattr(path.as_ptr(), name, bytes, value.len(), 0) }.into()).map(drop)
}

/// A descriptor that stands for this process, and for no other that gets its pid later.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let number = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let number = RawFd::try_from(number).expect("a descriptor");
    // SAFETY: the kernel has just made it (closed on exec), and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal, also one of real time, to the process that this descriptor stands for.
pub(crate) fn pidfd_signal(process: &OwnedFd, signal: c_int) -> io::Result<()> {
    let (number, info) = (process.as_raw_fd(), ptr::null::<u8>());
    // SAFETY: the descriptor is open for the length of the call, and a null info is allowed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, info, 0) }).map(drop)
}

/// This process's securebits (`SECBIT_…`).
pub fn securebits() -> io::Result<u32> {
    // SAFETY: it takes no argument.
    let bits = check(unsafe { libc::prctl(libc::PR_GET_SECUREBITS) }.into())?;
    Ok(u32::try_from(bits).expect("a few bits"))
}

/// The number of this process's session keyring.
pub fn session_keyring() -> io::Result<i32> {
    let (get_keyring_id, session, create) = (0, -3, 0);
    // SAFETY: plain numbers.
    let keyring =
        check(unsafe { libc::syscall(libc::SYS_keyctl, get_keyring_id, session, create) })?;
    Ok(i32::try_from(keyring).expect("the number of a key"))
}

/// What only root can do, tried one by one: the names of the calls that worked.
pub fn ways_back_to_root() -> Vec<&'static str> {
    const SAME: c_long = -1;
    let ambient = libc::PR_CAP_AMBIENT.into();
    let attempts: [(&str, c_long, [c_long; 3]); 14] = [
        ("setuid", libc::SYS_setuid, [0, 0, 0]),
        ("setreuid", libc::SYS_setreuid, [0, 0, 0]),
        ("setreuid of the real id", libc::SYS_setreuid, [0, SAME, 0]),
        (
            "setreuid of the effective id",
            libc::SYS_setreuid,
            [SAME, 0, 0],
        ),
        ("setresuid", libc::SYS_setresuid, [0, 0, 0]),
        (
            "setresuid of the effective id",
            libc::SYS_setresuid,
            [SAME, 0, SAME],
        ),
        (
            "setresuid of the saved id",
            libc::SYS_setresuid,
            [SAME, SAME, 0],
        ),
        ("setgid", libc::SYS_setgid, [0, 0, 0]),
        ("setregid", libc::SYS_setregid, [0, 0, 0]),
        ("setresgid", libc::SYS_setresgid, [0, 0, 0]),
        (
            "setresgid of the effective id",
            libc::SYS_setresgid,
            [SAME, 0, SAME],
        ),
        ("setgroups", libc::SYS_setgroups, [0, 0, 0]),
        (
            "an ambient capability",
            libc::SYS_prctl,
            [ambient, libc::PR_CAP_AMBIENT_RAISE.into(), 7],
        ),
        (
            "securebits",
            libc::SYS_prctl,
            [libc::PR_SET_SECUREBITS.into(), 0, 0],
        ),
    ];
    let works = |call: c_long, [first, second, third]: [c_long; 3]| {
        // SAFETY: the calls above take numbers only; setgroups takes a null list of none.
        check(unsafe { libc::syscall(call, first, second, third, 0, 0) }).is_ok()
    };
    let mut found: Vec<_> = attempts
        .into_iter()
        .filter(|&(_, call, args)| works(call, args))
        .map(|way| way.0)
        .collect();
    // These two answer with what was before.
    for (name, call) in [
        ("setfsuid", libc::SYS_setfsuid),
        ("setfsgid", libc::SYS_setfsgid),
    ] {
        works(call, [0, 0, 0]);
        // SAFETY: plain numbers, of which -1 changes nothing.
        if check(unsafe { libc::syscall(call, SAME) }).is_ok_and(|now| now == 0) {
            found.push(name);
        }
    }
    if nix::unistd::chroot("/").is_ok() {
        found.push("chroot");
    }
    // At last, as it gives up all others.
    let setuid = CapData {
        effective: 1 << 7,
        permitted: 1 << 7,
        inheritable: 0,
    };
    if set_capabilities([setuid, CapData::default()]).is_ok() {
        found.push("capset");
    }
    found
}

/// Installs a handler as a C library may: it interrupts calls (no SA_RESTART), no other signal is
/// blocked in it, and it has these flags besides. The handler must do only what signal-safety(7)
/// allows.
pub fn sigaction(signal: Signal, flags: c_int, handler: extern "C" fn(c_int)) -> io::Result<()> {
    install(signal, flags, handler as libc::sighandler_t)
}

/// The same with SA_SIGINFO.
pub fn sigaction_info(
    signal: Signal,
    handler: extern "C" fn(c_int, Option<&libc::siginfo_t>, Option<&c_void>),
) -> io::Result<()> {
    install(signal, libc::SA_SIGINFO, handler as libc::sighandler_t)
}

fn install(signal: Signal, flags: c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all zeros are a valid sigaction, with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler takes what the kernel gives it by these flags; what it does is its
    // author's promise.
    check(unsafe { libc::sigaction(signal as c_int, &raw const action, ptr::null_mut()) }.into())
        .map(drop)
}
