//! Locks on single bytes of the pidfile, far behind its content.
//!
//! They say what flock(2) cannot: who holds it, and what for. Asking for one takes no lock, hinders no start, and needs
//! neither /proc nor a right over the holder. The kernel keeps them by inode.

use nix::libc;

/// All bytes lie below 2^31, the most that a 32-bit `off_t` can hold.
const BASE: libc::off_t = 1 << 24;

/// One restart at a time: its open file description has locked this byte for writing.
const RESTART: libc::off_t = BASE - 3;

/// The lock of a restart.
pub(crate) fn restart_lock() -> libc::flock {
    range(RESTART, 1, libc::F_WRLCK)
}

fn range(start: libc::off_t, length: libc::off_t, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind.try_into().unwrap_or_default(),
        l_whence: libc::SEEK_SET.try_into().unwrap_or_default(),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}
