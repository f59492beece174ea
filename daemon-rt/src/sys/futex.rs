//! Threads that wait for a word of memory to change: futex(2).

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::libc;

// The times of `SYS_futex` are of type `long`, whatever `time_t` is. riscv32 lacks that call.
#[cfg(target_arch = "riscv32")]
use {i64 as Part, libc::SYS_futex_time64 as FUTEX};
#[cfg(not(target_arch = "riscv32"))]
use {libc::SYS_futex as FUTEX, libc::c_long as Part};

const WAIT: libc::c_int = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
const WAKE: libc::c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// Waits while the word has this value, until it is woken or the time is up. A signal may end the
/// wait early.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, limit: Option<Duration>) {
    let time = limit.map(|limit| [part(limit.as_secs()), part(limit.subsec_nanos().into())]);
    let time = match &time {
        Some(time) => ptr::from_ref(time),
        None => ptr::null(),
    };
    // SAFETY: the call only reads the word and the time, which outlive it. Without a time it has no
    // limit.
    unsafe { libc::syscall(FUTEX, word.as_ptr(), WAIT, value, time) };
}

fn part(value: u64) -> Part {
    Part::try_from(value).unwrap_or(Part::MAX)
}

/// Wakes the threads of this process that wait on the word. It is one system call, which a signal
/// handler may make.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel takes the address as a name, and touches no memory.
    unsafe { libc::syscall(FUTEX, word.as_ptr(), WAKE, libc::c_int::MAX) };
}
