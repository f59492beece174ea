//! User and group ids, and what prctl(2) says of privileges.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Gid;

/// As many as Linux allows a process, see setgroups(2).
pub(crate) const MOST_GROUPS: usize = 1 << 16;

/// The groups of a user, the primary one first. (nix asks for no more of them than sysconf(3)
/// allows, which with musl are 32, whatever the kernel allows.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups_of(user: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
    // The C library takes memory for as many as it is told there is room for: first for as many as
    // people have.
    let mut groups = vec![0; 64];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: the name ends with a NUL byte, and there is room for `count` groups.
        let result = unsafe {
            libc::getgrouplist(
                user.as_ptr(),
                primary.as_raw(),
                groups.as_mut_ptr(),
                &raw mut count,
            )
        };
        let found = usize::try_from(count).unwrap_or(0);
        match result {
            -1 if found <= groups.len() => return Err(Errno::last()),
            -1 if groups.len() == MOST_GROUPS => return Err(Errno::EINVAL),
            -1 => groups.resize(MOST_GROUPS, 0),
            _ => return Ok(groups[..found].iter().copied().map(Gid::from_raw).collect()),
        }
    }
}

/// One of the operations of prctl(2) that take numbers only and touch no memory.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
pub(crate) enum Prctl {
    GetSecurebits,
    SetSecurebits(libc::c_ulong),
    ClearAmbient,
}

/// Calls prctl(2).
#[cfg(target_os = "linux")]
pub(crate) fn prctl(operation: Prctl) -> nix::Result<c_int> {
    let (option, first): (c_int, libc::c_ulong) = match operation {
        Prctl::GetSecurebits => (libc::PR_GET_SECUREBITS, 0),
        Prctl::SetSecurebits(bits) => (libc::PR_SET_SECUREBITS, bits),
        Prctl::ClearAmbient => (
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        ),
    };
    let none: libc::c_ulong = 0;
    // SAFETY: none of these operations reads or writes memory of the process.
    Errno::result(unsafe { libc::prctl(option, first, none, none, none) })
}

/// The supplementary groups of this process; EINVAL where there are more than there is room for.
/// (nix reads from /proc first how many there may be.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups(room: &mut [libc::gid_t]) -> nix::Result<&mut [libc::gid_t]> {
    let length = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
    // SAFETY: there is room for `length`.
    let count = Errno::result(unsafe { libc::getgroups(length, room.as_mut_ptr()) })?;
    Ok(&mut room[..usize::try_from(count).unwrap_or(0)])
}

#[cfg(target_os = "linux")]
pub(crate) fn join_new_keyring() -> nix::Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    };
    Errno::result(result).map(drop)
}
