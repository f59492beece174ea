//! System calls that neither std nor nix nor rustix has in a safe form: the only file of this crate with
//! `unsafe`.
//!
//! Most of it runs in the keeper's child between fork and exec, where everything that may be broken
//! is this process's own: it holds no Rust object that owns one of the descriptors in question, and
//! has a single thread.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::{io, iter, ptr};

use libc::{c_int, c_long, c_void, rlim_t};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::ForkResult;
use rustix::process::set_parent_process_death_signal;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

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

/// The system calls by which a process waits for any of several descriptors.
pub const POLLS: &[c_long] = &[
    #[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
    libc::SYS_poll,
    libc::SYS_ppoll,
    #[cfg(target_pointer_width = "32")]
    414, // ppoll_time64
];

/// A system call by each of its numbers: processors of 32 bits have kept old ones, with ids of 16
/// bits, beside those that programs call.
pub(crate) fn each_width(call: c_long) -> Vec<c_long> {
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    let wider = match call {
        libc::SYS_setgroups => Some(libc::SYS_setgroups32),
        libc::SYS_setresgid => Some(libc::SYS_setresgid32),
        libc::SYS_setresuid => Some(libc::SYS_setresuid32),
        libc::SYS_prlimit64 => Some(libc::SYS_ugetrlimit),
        _ => None,
    };
    #[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
    let wider = None;
    iter::once(call).chain(wider).collect()
}

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
/// it. It has every signal blocked, a session of its own, none of this process's descriptors, does
/// nothing until it is killed, and dies with this thread. Needs root, or the capability to checkpoint.
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
        let _ = set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let _ = rustix::process::setsid();
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

/// Sends a signal, also one of real time, to the process that this descriptor stands for.
pub(crate) fn pidfd_signal(process: &OwnedFd, signal: c_int) -> io::Result<()> {
    let (number, info) = (process.as_raw_fd(), ptr::null::<u8>());
    // SAFETY: the descriptor is open for the length of the call, and a null info is allowed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, info, 0) }).map(drop)
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
    let setuid = CapabilitySets {
        effective: CapabilitySet::SETUID,
        permitted: CapabilitySet::SETUID,
        inheritable: CapabilitySet::empty(),
    };
    if set_capabilities(None, setuid).is_ok() {
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

/// Makes this process's own descriptor of this number close-on-exec.
pub(crate) fn set_close_on_exec(number: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD touches no memory, and reports a number that is not open.
    check(c_long::from(unsafe {
        libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC)
    }))?;
    Ok(())
}
