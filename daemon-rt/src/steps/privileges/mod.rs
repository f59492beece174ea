//! Step 13: another root directory, another user, and nothing that leads back.

mod accounts;
pub(crate) mod capability;
mod ids;

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Uid, chdir, chroot, fchdir, geteuid};

use crate::daemon::Daemon;
use crate::error::{During, Error};
use crate::report::syslog;
use crate::step::Step;
use crate::steps::pidfile;
use crate::steps::privileges::accounts::{Identity, Variables, look_up};
use crate::steps::streams::{self, path_of};
use crate::sys::{SingleThreaded, safe_open};

/// Whom the service becomes.
#[derive(Debug, Default)]
pub(crate) struct Privileges {
    /// The directory that becomes the root.
    chroot: Option<PathBuf>,
    /// `None`: as it is.
    identity: Option<Identity>,
    /// A bit each.
    capabilities: u64,
    no_new_privs: Option<bool>,
}

impl Privileges {
    /// The settings checked, without looking up any name.
    pub(crate) fn of(daemon: &Daemon, chroot: Option<PathBuf>) -> Result<Self, Error> {
        let mut capabilities = 0;
        for name in &daemon.capabilities {
            let bit = capability::bit(name)
                .map_err(|problem| Error::usage(format!("capability {name}"), problem))?;
            capabilities |= bit;
        }
        if capabilities != 0 && daemon.user.is_none() {
            let problem = "they are what is kept when another user is taken on: set `user`";
            return Err(Error::usage("capabilities", problem));
        }
        Ok(Self {
            chroot,
            identity: None,
            capabilities,
            no_new_privs: daemon.no_new_privs,
        })
    }

    /// Looks up the names of users and groups, and returns what the environment is to say of the
    /// user.
    pub(crate) fn look_up(&mut self, daemon: &Daemon) -> Result<Variables, Error> {
        let (identity, variables) = look_up(daemon)?;
        self.identity = identity;
        Ok(variables)
    }

    /// Whether the service gets another root directory.
    pub(crate) fn changes_root(&self) -> bool {
        self.chroot.is_some()
    }

    /// The user to whom log files are given.
    pub(crate) fn owner(&self) -> Option<Uid> {
        self.identity
            .as_ref()
            .map(|identity| identity.uid)
            .filter(|_| geteuid().is_root())
    }
}

/// Step 13. Inside a chroot the working directory is this one.
pub(crate) fn give_up(privileges: &Privileges, directory: &CStr) -> Result<(), Error> {
    let Privileges {
        chroot,
        identity,
        capabilities,
        no_new_privs,
    } = privileges;
    if let Some(root) = chroot {
        syslog::connect_log();
        enter(root).during(
            Step::DropPrivileges,
            format_args!("chroot {}", root.display()),
        )?;
        let inside = || format!("{} in the chroot", path_of(directory).display());
        chdir(directory).map_err(|error| Error::step(Step::ChangeDirectory, inside(), error))?;
        pidfile::left_behind();
        streams::leave_logs_behind();
    }
    if let Some(identity) = identity {
        only_thread()?;
        identity.take_on(*capabilities)?;
    }
    let dropped = identity
        .as_ref()
        .is_some_and(|identity| !identity.uid.is_root());
    if no_new_privs.unwrap_or(dropped) {
        capability::gain_no_more().during(Step::DropPrivileges, "no_new_privs")?;
    }
    identity
        .as_ref()
        .map_or(Ok(()), |identity| identity.verify(*capabilities))
}

/// Makes this directory the root directory. Whoever could exchange it could have the service run
/// outside of it, and whoever could write it could put there what the service takes for the
/// system's.
fn enter(root: &Path) -> io::Result<()> {
    fchdir(safe_open::open_directory(root)?)?;
    Ok(chroot(".")?)
}

/// Capabilities belong to threads: one that `privileged_init` has left behind would keep them all.
fn only_thread() -> Result<(), Error> {
    SingleThreaded::check().map(drop).map_err(|threads| {
        let error = io::Error::other(
            "each has privileges of its own: start them in `init`, not in `privileged_init`",
        );
        Error::step(Step::DropPrivileges, threads, error)
    })
}

impl Identity {
    /// Groups, group id, user id, capabilities, in this order: each needs what the next one gives
    /// up.
    fn take_on(&self, capabilities: u64) -> Result<(), Error> {
        if !self.is_current()? {
            capability::prepare(capabilities).during(Step::DropPrivileges, "capabilities")?;
            match ids::set_groups(&self.groups) {
                // In a user namespace nobody may. That matters only if something has to change.
                Err(Errno::EPERM) if ids::same_groups(&self.groups) == Ok(true) => {}
                result => result.during(Step::DropPrivileges, "the supplementary groups")?,
            }
            ids::set_gid(self.gid)
                .during(Step::DropPrivileges, format_args!("group id {}", self.gid))?;
            ids::set_uid(self.uid)
                .during(Step::DropPrivileges, format_args!("user id {}", self.uid))?;
        }
        if self.limits_capabilities(capabilities) {
            capability::keep_only(capabilities).during(Step::DropPrivileges, "capabilities")?;
        }
        Ok(())
    }

    /// Whether there is nothing to change: an ordinary user may start a service that is to run as
    /// that user, with whatever groups that user has in this session, unless others are asked for.
    fn is_current(&self) -> Result<bool, Error> {
        let groups = || {
            let fixed = || !self.exact_groups && ids::set_groups(&self.groups) == Err(Errno::EPERM);
            Ok(ids::same_groups(&self.groups)? || fixed())
        };
        let current: nix::Result<bool> =
            (|| Ok(!geteuid().is_root() && self.has_ids()? && groups()?))();
        current.during(Step::DropPrivileges, "the present ids")
    }

    fn has_ids(&self) -> nix::Result<bool> {
        Ok(ids::uids()?.all(|uid| uid == self.uid) && ids::gids()?.all(|gid| gid == self.gid))
    }

    /// Root without a list of capabilities stays what it is.
    fn limits_capabilities(&self, capabilities: u64) -> bool {
        !self.uid.is_root() || capabilities != 0
    }

    /// Makes sure that this worked and that there is no way back, by trying.
    fn verify(&self, capabilities: u64) -> Result<(), Error> {
        let during =
            |error: Errno| Error::step(Step::DropPrivileges, "what is left of them", error);
        let failed = |what| {
            Err(Error::step(
                Step::DropPrivileges,
                what,
                io::Error::other("they are not as they were set"),
            ))
        };
        if !self.has_ids().map_err(during)? {
            return failed("the user and group ids");
        }
        // What could be set has been set.
        if !ids::same_groups(&self.groups).map_err(during)?
            && (self.exact_groups || ids::set_groups(&self.groups).is_ok())
        {
            return failed("the supplementary groups");
        }
        if self.limits_capabilities(capabilities)
            && !capability::are_only(capabilities).map_err(during)?
        {
            return failed("the capabilities");
        }
        let regains_group = || self.gid.as_raw() != 0 && ids::regains_root_group();
        if !self.uid.is_root() && (ids::regains_root() || regains_group()) {
            return failed("root's ids");
        }
        Ok(())
    }
}
