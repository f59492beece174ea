//! POSIX access control lists, see acl(5): they can let more people write a directory than its mode
//! shows.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::sys;

/// Checks whether the list of a directory lets anyone but root write it. With a list, the group's
/// bits of the mode are its mask: without the write bit there, the list lets no one.
pub(crate) fn lets_others_write(directory: &OwnedFd) -> nix::Result<bool> {
    // Far more than the lists that people write.
    let mut list = [0; 4096];
    // The given descriptor was opened with O_PATH, and has no attributes.
    let readable = openat(
        directory,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    match sys::attribute(readable.as_fd(), c"system.posix_acl_access", &mut list) {
        Ok(length) => Ok(names_another_writer(&list[..length])),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
        Err(Errno::ERANGE) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Checks whether an entry gives the right to write to a user or a group other than root's. A
/// version of four bytes is followed by entries of eight: type, rights, id.
fn names_another_writer(list: &[u8]) -> bool {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    const WRITE: u16 = 0x02;
    let Some(entries) = list.get(4..) else {
        return false;
    };
    entries.chunks_exact(8).any(|entry| {
        let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        matches!(number(0), USER | GROUP) && number(2) & WRITE != 0 && entry[4..] != [0; 4]
    })
}
