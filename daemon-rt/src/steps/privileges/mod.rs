//! Step 13: another root directory, another user, and no way back.

mod accounts;
pub(crate) mod capability;
mod ids;

use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, chdir, chroot, fchdir, geteuid};

use self::accounts::{Identity, Variables, look_up};
use crate::daemon::Daemon;
use crate::error::{During, Error};
use crate::report::syslog;
use crate::step::Step;
use crate::steps::pidfile;
use crate::steps::streams::{self, path_of};
use crate::sys::{SingleThreaded, proc, safe_open};

/// The privileges that the service is to have.
#[derive(Debug, Default)]
pub(crate) struct Privileges {
    /// The directory that becomes the root.
    chroot: Option<PathBuf>,
    /// `None` leaves the ids as they are.
    identity: Option<Identity>,
    /// The capabilities to keep, a bit each.
    capabilities: u64,
    no_new_privs: Option<bool>,
}

impl Privileges {
    /// Checks the settings, without looking up any name.
    pub(crate) fn of(daemon: &Daemon, chroot: Option<PathBuf>) -> Result<Self, Error> {
        let mut capabilities = 0;
        for name in &daemon.capabilities {
            let bit = capability::bit(name)
                .map_err(|problem| Error::usage(format!("capability {name}"), problem))?;
            capabilities |= bit;
        }
        if capabilities != 0 && daemon.user.is_none() {
            let problem = "they are kept at a change of the user: set `user` too";
            return Err(Error::usage("capabilities", problem));
        }
        Ok(Self {
            chroot,
            identity: None,
            capabilities,
            no_new_privs: daemon.no_new_privs,
        })
    }

    /// Looks up the names of users and groups, and returns the environment variables that describe
    /// the user.
    pub(crate) fn look_up(&mut self, daemon: &Daemon) -> Result<Variables, Error> {
        let (identity, variables) = look_up(daemon)?;
        self.identity = identity;
        Ok(variables)
    }

    /// Returns those of a process beside the service: the same ids, without the capabilities, and
    /// outside of the chroot.
    pub(crate) fn outside_chroot(&self) -> Self {
        Self {
            chroot: None,
            identity: self.identity.clone(),
            capabilities: 0,
            no_new_privs: self.no_new_privs,
        }
    }

    /// Returns the directory that becomes the root, if one does.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.chroot.as_deref()
    }

    /// Checks whether the service gets another root directory.
    pub(crate) fn changes_root(&self) -> bool {
        self.chroot.is_some()
    }

    /// Returns the user to whom log files are given.
    pub(crate) fn owner(&self) -> Option<Uid> {
        let (user, _) = self.owners()?;
        Some(user)
    }

    /// The same with the group.
    pub(crate) fn owners(&self) -> Option<(Uid, Gid)> {
        match &self.identity {
            Some(identity) if geteuid().is_root() => Some((identity.uid, identity.gid)),
            _ => None,
        }
    }
}

/// Step 13. In a chroot, `directory` becomes the working directory.
#[inline]
pub(crate) fn give_up(privileges: &Privileges, directory: Option<&CStr>) -> Result<(), Error> {
    let Privileges {
        chroot,
        identity,
        capabilities,
        no_new_privs,
    } = privileges;
    if let (Some(root), Some(directory)) = (chroot, directory) {
        change_root(root, directory)?;
    }
    let mut gives_up_root = false;
    if let Some(identity) = identity {
        check_threads()?;
        identity.take_on(*capabilities)?;
        gives_up_root = !identity.uid.is_root();
    }
    if no_new_privs.unwrap_or(gives_up_root) {
        capability::gain_no_more().during(Step::DropPrivileges, "no_new_privs")?;
    }
    match identity {
        Some(identity) => identity
            .verify(*capabilities)
            .during(Step::DropPrivileges, "verification"),
        None => Ok(()),
    }
}

fn change_root(root: &Path, directory: &CStr) -> Result<(), Error> {
    syslog::connect_log();
    enter(root).during(
        Step::DropPrivileges,
        format_args!("chroot {}", root.display()),
    )?;
    chdir(directory).during(
        Step::ChangeDirectory,
        format_args!("{} in the chroot", path_of(directory).display()),
    )?;
    pidfile::leave_behind();
    streams::leave_logs_behind();
    Ok(())
}

/// Makes this directory the root directory. Only root can exchange it, or the service could be made
/// to run outside of it. Only root can write it, or files that the service takes for the system's
/// could be put there.
fn enter(root: &Path) -> io::Result<()> {
    fchdir(safe_open::open_directory(root)?)?;
    Ok(chroot(".")?)
}

/// Makes sure that there is one thread. Capabilities belong to threads: one that `privileged_init`
/// has left behind would keep them all.
fn check_threads() -> Result<(), Error> {
    let Err(threads) = SingleThreaded::check() else {
        return Ok(());
    };
    let advice = match proc::emulator() {
        Some(emulator) => format!(
            "each has privileges of its own, and {emulator}, which runs this program, has one: start it as that user"
        ),
        None => "each has privileges of its own: start them in `init`, not in `privileged_init`"
            .to_owned(),
    };
    Err(Error::step(
        Step::DropPrivileges,
        threads,
        io::Error::other(advice),
    ))
}

impl Identity {
    /// Sets groups, group id, user id and capabilities, in this order: each needs what the next one
    /// gives up.
    fn take_on(&self, capabilities: u64) -> Result<(), Error> {
        let is_current = self.is_current();
        if !is_current.during(Step::DropPrivileges, "the present ids")? {
            capability::prepare(capabilities).during(Step::DropPrivileges, "capabilities")?;
            match ids::set_groups(&self.groups) {
                // In a user namespace it is forbidden. That matters only if they have to change.
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

    /// Checks whether the ids are right already: an ordinary user can start a service as that user.
    /// Its groups are those of the session, unless the settings name others.
    fn is_current(&self) -> nix::Result<bool> {
        if geteuid().is_root() || !self.has_ids()? {
            return Ok(false);
        }
        if ids::same_groups(&self.groups)? {
            return Ok(true);
        }
        Ok(!self.exact_groups && ids::set_groups(&self.groups) == Err(Errno::EPERM))
    }

    fn has_ids(&self) -> nix::Result<bool> {
        Ok(ids::uids()?.all(|uid| uid == self.uid) && ids::gids()?.all(|gid| gid == self.gid))
    }

    /// Root keeps all capabilities, unless the settings name some.
    fn limits_capabilities(&self, capabilities: u64) -> bool {
        !self.uid.is_root() || capabilities != 0
    }

    /// Makes sure that this worked, and tries that there is no way back.
    fn verify(&self, capabilities: u64) -> io::Result<()> {
        if !self.has_ids()? {
            return differ("user and group ids");
        }
        if !ids::same_groups(&self.groups)? {
            // Those of the session stay if they cannot be set.
            if self.exact_groups || ids::set_groups(&self.groups).is_ok() {
                return differ("supplementary groups");
            }
        }
        if self.limits_capabilities(capabilities) && !capability::are_only(capabilities)? {
            return differ("capabilities");
        }
        if self.regains_root() {
            return Err(io::Error::other("root's ids can be taken on again"));
        }
        Ok(())
    }

    fn regains_root(&self) -> bool {
        if self.uid.is_root() {
            return false;
        }
        ids::regains_root() || self.gid.as_raw() != 0 && ids::regains_root_group()
    }
}

fn differ(what: &str) -> io::Result<()> {
    let problem = format!("{what} differ from what was set");
    Err(io::Error::other(problem))
}
