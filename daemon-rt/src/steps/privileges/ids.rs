//! All user, group and supplementary group ids of this process.

use nix::unistd::{self, Gid, Uid};

#[cfg(not(target_vendor = "apple"))]
pub(crate) use with_saved_ids::{gids, same_groups, set_gid, set_groups, set_uid, uids};
#[cfg(target_vendor = "apple")]
pub(crate) use without_saved_ids::{gids, same_groups, set_gid, set_groups, set_uid, uids};

/// Tries whether this process can take on root's user id.
pub(crate) fn regains_root() -> bool {
    set_uid(Uid::from_raw(0)).is_ok()
}

/// Tries whether this process can take on root's group id.
pub(crate) fn regains_root_group() -> bool {
    set_gid(Gid::from_raw(0)).is_ok()
}

#[cfg(not(target_vendor = "apple"))]
mod with_saved_ids {
    use nix::errno::Errno;

    use super::{Gid, Uid, unistd};
    use crate::sys;

    /// The real, effective, saved and, where there is one, file-system user ids.
    pub(crate) fn uids() -> nix::Result<impl Iterator<Item = Uid>> {
        let ids = unistd::getresuid()?;
        #[cfg(target_os = "linux")]
        let more = [sys::file_system_uid()];
        #[cfg(not(target_os = "linux"))]
        let more = [];
        Ok([ids.real, ids.effective, ids.saved].into_iter().chain(more))
    }

    /// The real, effective, saved and, where there is one, file-system group ids.
    pub(crate) fn gids() -> nix::Result<impl Iterator<Item = Gid>> {
        let ids = unistd::getresgid()?;
        #[cfg(target_os = "linux")]
        let more = [sys::file_system_gid()];
        #[cfg(not(target_os = "linux"))]
        let more = [];
        Ok([ids.real, ids.effective, ids.saved].into_iter().chain(more))
    }

    pub(crate) fn set_uid(uid: Uid) -> nix::Result<()> {
        unistd::setresuid(uid, uid, uid)
    }

    pub(crate) fn set_gid(gid: Gid) -> nix::Result<()> {
        unistd::setresgid(gid, gid, gid)
    }

    pub(crate) fn set_groups(groups: &[Gid]) -> nix::Result<()> {
        unistd::setgroups(groups)
    }

    /// Checks whether the supplementary groups are these, which are sorted.
    pub(crate) fn same_groups(groups: &[Gid]) -> nix::Result<bool> {
        // Up to 32 need no allocation, which touches pages: that is slow in a process that was just
        // forked.
        let (mut few, mut many) = ([0; 32], Vec::new());
        let found = match sys::groups(&mut few) {
            Err(Errno::EINVAL) => {
                many.resize(sys::MOST_GROUPS, 0);
                sys::groups(&mut many)?
            }
            found => found?,
        };
        found.sort_unstable();
        let found = found
            .chunk_by(|a, b| a == b)
            .map(|same| Gid::from_raw(same[0]));
        Ok(found.eq(groups.iter().copied()))
    }
}

/// macOS: for root setuid(2) and setgid(2) change the saved ids as well, and the supplementary
/// groups belong to the system's directory service.
#[cfg(target_vendor = "apple")]
mod without_saved_ids {
    use super::{Gid, Uid, unistd};

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn uids() -> nix::Result<impl Iterator<Item = Uid>> {
        Ok([unistd::getuid(), unistd::geteuid()].into_iter())
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn gids() -> nix::Result<impl Iterator<Item = Gid>> {
        Ok([unistd::getgid(), unistd::getegid()].into_iter())
    }

    pub(crate) fn set_uid(uid: Uid) -> nix::Result<()> {
        unistd::setuid(uid)
    }

    pub(crate) fn set_gid(gid: Gid) -> nix::Result<()> {
        unistd::setgid(gid)
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn set_groups(_: &[Gid]) -> nix::Result<()> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn same_groups(_: &[Gid]) -> nix::Result<bool> {
        Ok(true)
    }
}
