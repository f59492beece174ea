//! POSIX access control lists, see acl(5): they can let a directory be written by others than its
//! mode tells.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::sys;

/// Whether the list of a directory lets others than root write it. Where there is a list the
/// group's bits of the mode are its mask: without the right to write there it lets no one.
pub(crate) fn lets_others_write(directory: &OwnedFd) -> nix::Result<bool> {
    // Far more than a list of people has.
    let mut list = [0; 4096];
    // The descriptor was opened to search, and cannot be asked.
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

/// Whether an entry for a user or a group that is not root's has the right to write. Behind a
/// version of four bytes each entry has eight: its kind, its rights, and whom it is for.
fn names_another_writer(list: &[u8]) -> bool {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    const WRITE: u16 = 0x02;
    list.get(4..)
        .unwrap_or_default()
        .chunks_exact(8)
        .any(|entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            matches!(number(0), USER | GROUP) && number(2) & WRITE != 0 && entry[4..] != [0; 4]
        })
}
