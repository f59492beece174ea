//! Step 13, before `privileged_init`: a directory of the service's own.

use std::io;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown, geteuid};

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::safe_open::{SafePath, Untrusted};

/// Gives the directory to the service's user and group.
pub(crate) fn hand_over(path: &Path, owner: Option<(Uid, Gid)>) -> Result<(), Error> {
    try_hand_over(path, owner).during(Step::MakeDirectory, path.display())
}

fn try_hand_over(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let (directory, found) = SafePath::of(path)?.open_directory()?;
    let (user, group) = match owner {
        Some((user, group)) => (user, Some(group)),
        None => (geteuid(), None),
    };
    if found.st_mode & Mode::S_IWOTH.bits() != 0 {
        return Err(Untrusted("it can be written by everyone".to_owned()).into());
    }
    if found.st_uid == user.as_raw() {
        return Ok(());
    }
    // One that another service uses is not taken away from it.
    let is_empty = std::fs::read_dir(path)?.next().is_none();
    if owner.is_none() || !is_empty {
        let content = if is_empty { "" } else { ", and is not empty" };
        let problem = format!("it belongs to user id {}{content}", found.st_uid);
        return Err(Untrusted(problem).into());
    }
    Ok(fchown(&directory, Some(user), group)?)
}
