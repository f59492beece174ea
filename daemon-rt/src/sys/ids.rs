//! Groups, the operations of prctl(2) that nix does not have, and the session keyring.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{Gid, Uid};

/// The most that Linux allows a process, see setgroups(2).
pub(crate) const MOST_GROUPS: usize = 1 << 16;

/// Returns the groups of a user, the primary one first. (nix stops at the limit of sysconf(3), which
/// is 32 with musl, whatever the kernel allows.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups_of(user: &CStr, primary: Gid) -> nix::Result<Vec<Gid>> {
    // More than people have. The C library allocates as much memory as it is told there is room for.
    const USUAL: usize = 64;
    for room in [USUAL, MOST_GROUPS] {
        let mut groups = vec![0; room];
        let mut count = length_of(&groups);
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
        if result >= 0 {
            return Ok(groups[..found].iter().copied().map(Gid::from_raw).collect());
        }
        if found <= room {
            return Err(Errno::last());
        }
    }
    Err(Errno::EINVAL)
}

#[cfg(not(target_vendor = "apple"))]
fn length_of(groups: &[libc::gid_t]) -> c_int {
    c_int::try_from(groups.len()).expect("at most MOST_GROUPS")
}

/// An operation of prctl(2) that takes only numbers, and touches no memory.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy)]
pub(crate) enum Prctl {
    GetSecurebits,
    ClearSecurebits,
    ClearAmbient,
}

/// Calls prctl(2).
#[cfg(target_os = "linux")]
pub(crate) fn prctl(operation: Prctl) -> nix::Result<c_int> {
    let (option, first): (c_int, libc::c_ulong) = match operation {
        Prctl::GetSecurebits => (libc::PR_GET_SECUREBITS, 0),
        Prctl::ClearSecurebits => (libc::PR_SET_SECUREBITS, 0),
        Prctl::ClearAmbient => (
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        ),
    };
    let none: libc::c_ulong = 0;
    // SAFETY: none of these operations reads or writes memory of the process.
    Errno::result(unsafe { libc::prctl(option, first, none, none, none) })
}

/// Returns the supplementary groups of this process; EINVAL if there is not enough room. (nix makes
/// five system calls of the one: glibc looks up the limit in /proc first.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn groups(room: &mut [libc::gid_t]) -> nix::Result<&mut [libc::gid_t]> {
    let length = length_of(room);
    // SAFETY: there is room for `length`.
    let count = Errno::result(unsafe { libc::getgroups(length, room.as_mut_ptr()) })?;
    Ok(&mut room[..usize::try_from(count).unwrap_or(0)])
}

/// Returns the user id that the kernel asks for with files.
#[cfg(target_os = "linux")]
pub(crate) fn file_system_uid() -> Uid {
    // SAFETY: this touches no memory. No user has the id -1: it changes nothing.
    let result = unsafe { libc::setfsuid(libc::uid_t::MAX) };
    Uid::from_raw(id_of(result))
}

/// Returns the group id that the kernel asks for with files.
#[cfg(target_os = "linux")]
pub(crate) fn file_system_gid() -> Gid {
    // SAFETY: this touches no memory. No group has the id -1: it changes nothing.
    let result = unsafe { libc::setfsgid(libc::gid_t::MAX) };
    Gid::from_raw(id_of(result))
}

/// Returns the id that was returned as a signed number. On 32 bits, musl takes the last ids for the
/// numbers of errors.
#[cfg(target_os = "linux")]
fn id_of(result: c_int) -> u32 {
    let id = if cfg!(target_env = "musl") && result == -1 {
        -Errno::last_raw()
    } else {
        result
    };
    0_u32.wrapping_add_signed(id)
}

/// Gives this process a new, anonymous session keyring, see keyctl(2).
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
