//! What tests do to files that std has no function for.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, XattrFlags, renameat_with, setxattr};

/// Two paths exchange what they name, in one step.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Gives a program file these capabilities, permitted and effective, as setcap(8) does.
pub fn set_file_capabilities(path: &Path, capabilities: u32) -> io::Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    // The kernel's struct vfs_cap_data: permitted and inheritable, of the lower and the upper half.
    let value = [REVISION_2_EFFECTIVE, capabilities, 0, 0, 0].map(u32::to_le_bytes);
    let name = "security.capability";
    Ok(setxattr(
        path,
        name,
        value.as_flattened(),
        XattrFlags::empty(),
    )?)
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
    let name = "system.posix_acl_access";
    Ok(setxattr(path, name, &value, XattrFlags::empty())?)
}
