//! Step 13: another root directory, another user, and nothing that leads back.

use std::ffi::{CString, OsString};
use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User, chdir, chroot, geteuid};

use crate::capability;
use crate::daemon::{Daemon, NameOrId};
use crate::detach::Step;
use crate::error::{During, Error};
use crate::plan::Plan;
use crate::sys::{self, SingleThreaded};
use crate::{audience, complain, pidfile};

/// Whom the service becomes.
#[derive(Debug, Default)]
pub(crate) struct Privileges {
    /// `None`: as it is.
    identity: Option<Identity>,
    /// A bit each.
    capabilities: u64,
    no_new_privs: Option<bool>,
}

#[derive(Debug)]
struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// Whether the groups were asked for, or are what the system says of the user.
    exact_groups: bool,
}

impl Privileges {
    /// The settings checked, without looking up any name.
    pub(crate) fn of(daemon: &Daemon) -> Result<Self, Error> {
        let mut capabilities = 0;
        for name in &daemon.capabilities {
            let bit = capability::bit(name).map_err(|problem| Error::usage(format!("capability {name}"), problem))?;
            capabilities |= bit;
        }
        if capabilities != 0 && daemon.user.is_none() {
            let problem = "they are what is kept when another user is taken on: set `user`";
            return Err(Error::usage("capabilities", problem));
        }
        Ok(Self { identity: None, capabilities, no_new_privs: daemon.no_new_privs })
    }

    /// The user to whom log files are given.
    pub(crate) fn owner(&self) -> Option<Uid> {
        self.identity.as_ref().map(|identity| identity.uid).filter(|_| geteuid().is_root())
    }
}

// Names, before the fork

/// Looks up the users and groups that the settings name, and returns what the environment says of the user.
pub(crate) fn look_up(daemon: &Daemon, privileges: &mut Privileges) -> Result<Vec<(&'static str, OsString)>, Error> {
    let (uid, user) = match &daemon.user {
        Some(user) => look_up_user(user)?,
        None => (geteuid(), User::from_uid(geteuid()).during(Step::DropPrivileges, "the current user")?),
    };
    if daemon.user.is_some() || daemon.group.is_some() || daemon.groups.is_some() {
        privileges.identity = Some(identity(daemon, uid, user.as_ref())?);
    }
    let Some(user) = user else { return Ok(vec![("HOME", "/".into())]) };
    Ok(vec![
        ("HOME", user.dir.into()),
        ("LOGNAME", user.name.clone().into()),
        ("SHELL", user.shell.into()),
        ("USER", user.name.into()),
    ])
}

fn identity(daemon: &Daemon, uid: Uid, user: Option<&User>) -> Result<Identity, Error> {
    let gid = match (&daemon.group, &daemon.user, user) {
        (Some(group), ..) => look_up_group(group)?,
        (None, Some(_), Some(user)) => user.gid,
        (None, Some(_), None) => {
            let error = io::Error::other("has no entry that names a primary group: set `group` too");
            return Err(Error::step(Step::DropPrivileges, format!("user {uid}"), error));
        }
        (None, None, _) => unistd::getegid(),
    };
    let groups = match (&daemon.groups, &daemon.user, user) {
        (Some(groups), ..) => groups.iter().map(look_up_group).collect::<Result<_, _>>()?,
        (None, Some(_), Some(user)) => groups_of(user, gid)?,
        (None, ..) => vec![gid],
    };
    Ok(Identity { uid, gid, groups, exact_groups: daemon.groups.is_some() })
}

fn look_up_user(user: &NameOrId) -> Result<(Uid, Option<User>), Error> {
    let object = format!("user {user}");
    if let Some(name) = user.name() {
        if let Some(user) = absent(User::from_name(name)).during(Step::DropPrivileges, &object)? {
            return Ok((user.uid, Some(user)));
        }
    }
    let uid = Uid::from_raw(user.id().during(Step::DropPrivileges, &object)?);
    Ok((uid, absent(User::from_uid(uid)).during(Step::DropPrivileges, &object)?))
}

fn look_up_group(group: &NameOrId) -> Result<Gid, Error> {
    let object = format!("group {group}");
    if let Some(name) = group.name() {
        if let Some(group) = absent(Group::from_name(name)).during(Step::DropPrivileges, &object)? {
            return Ok(group.gid);
        }
    }
    group.id().map(Gid::from_raw).during(Step::DropPrivileges, &object)
}

/// Some errors mean that there is no such entry, see getpwnam(3).
fn absent<T>(result: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match result {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        result => result,
    }
}

/// The groups of a user, as initgroups(3) would set them.
#[cfg(not(target_vendor = "apple"))]
fn groups_of(user: &User, gid: Gid) -> Result<Vec<Gid>, Error> {
    let name = CString::new(user.name.as_str()).during(Step::DropPrivileges, &user.name)?;
    unistd::getgrouplist(&name, gid).during(Step::DropPrivileges, format_args!("the groups of {}", user.name))
}

#[cfg(target_vendor = "apple")]
fn groups_of(_: &User, gid: Gid) -> Result<Vec<Gid>, Error> {
    Ok(vec![gid])
}

impl NameOrId {
    /// The name to look up.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) if !name.contains('\0') => Some(name),
            _ => None,
        }
    }

    /// The number, where no entry has such a name.
    fn id(&self) -> io::Result<u32> {
        match self {
            Self::Id(u32::MAX) => Err(io::Error::other("-1 is no id: the system calls take it for \"unchanged\"")),
            Self::Id(id) => Ok(*id),
            Self::Name(name) => match name.parse() {
                Ok(id) => Self::Id(id).id(),
                Err(_) => Err(io::Error::other("there is none of this name")),
            },
        }
    }
}

// The drop, in the daemon

/// Step 6 too is about what the caller could: its session keyring may hold keys. A kernel without keyrings or a filter
/// that forbids them is no failure.
pub(crate) fn leave_keyring() -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    match sys::join_new_keyring() {
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) | Ok(()) => {}
        Err(error) => return Err(error).during(Step::NewSession, "the session keyring"),
    }
    Ok(())
}

pub(crate) fn drop(plan: &Plan) -> Result<(), Error> {
    let Privileges { identity, capabilities, no_new_privs } = &plan.privileges;
    if let Some(root) = &plan.chroot {
        complain::connect_log(&audience::name());
        chroot(root).during(Step::DropPrivileges, format_args!("chroot {}", root.display()))?;
        let directory = &plan.working_directory;
        chdir(directory).during(Step::ChangeDirectory, format_args!("{} in the chroot", directory.display()))?;
        pidfile::left_behind();
    }
    if let Some(identity) = identity {
        only_thread()?;
        identity.take_on(*capabilities)?;
    }
    let dropped = identity.as_ref().is_some_and(|identity| !identity.uid.is_root());
    #[cfg(target_os = "linux")]
    if no_new_privs.unwrap_or(dropped) {
        sys::prctl(sys::Prctl::NoNewPrivs).during(Step::DropPrivileges, "no_new_privs")?;
    }
    match identity {
        Some(identity) => identity.verify(*capabilities),
        None => Ok(()),
    }
}

/// Capabilities belong to threads: one that `privileged_init` has left behind would keep them all.
fn only_thread() -> Result<(), Error> {
    SingleThreaded::check().map(std::mem::drop).map_err(|threads| {
        let error = io::Error::other(format!(
            "{threads} threads run, and each has privileges of its own: start threads in `init`, not in `privileged_init`"
        ));
        Error::step(Step::DropPrivileges, "threads", error)
    })
}

impl Identity {
    /// Groups, group id, user id, capabilities, in this order: each needs what the next one gives up.
    fn take_on(&self, capabilities: u64) -> Result<(), Error> {
        if !self.is_current()? {
            #[cfg(target_os = "linux")]
            prepare_capabilities(capabilities)?;
            set_groups(&self.groups).during(Step::DropPrivileges, format_args!("groups {}", list(&self.groups)))?;
            set_gid(self.gid).during(Step::DropPrivileges, format_args!("group id {}", self.gid))?;
            set_uid(self.uid).during(Step::DropPrivileges, format_args!("user id {}", self.uid))?;
        }
        #[cfg(target_os = "linux")]
        if self.limits_capabilities(capabilities) {
            set_capabilities(capabilities)?;
        }
        Ok(())
    }

    /// Whether there is nothing to change: an ordinary user may start a service that is to run as that user.
    fn is_current(&self) -> Result<bool, Error> {
        let groups = if self.exact_groups { same_groups(&self.groups)? } else { true };
        Ok(!geteuid().is_root() && self.has_ids()? && groups)
    }

    /// Root without a list of capabilities stays what it is.
    #[cfg(target_os = "linux")]
    fn limits_capabilities(&self, capabilities: u64) -> bool {
        !self.uid.is_root() || capabilities != 0
    }

    #[cfg(not(target_vendor = "apple"))]
    fn has_ids(&self) -> Result<bool, Error> {
        let uids = unistd::getresuid().during(Step::DropPrivileges, "the user ids")?;
        let gids = unistd::getresgid().during(Step::DropPrivileges, "the group ids")?;
        Ok([uids.real, uids.effective, uids.saved].iter().all(|&uid| uid == self.uid)
            && [gids.real, gids.effective, gids.saved].iter().all(|&gid| gid == self.gid))
    }

    #[cfg(target_vendor = "apple")]
    fn has_ids(&self) -> Result<bool, Error> {
        Ok([unistd::getuid(), geteuid()] == [self.uid; 2] && [unistd::getgid(), unistd::getegid()] == [self.gid; 2])
    }

    /// Makes sure that this worked and that there is no way back, by trying.
    fn verify(&self, capabilities: u64) -> Result<(), Error> {
        let failed = |what: &str| {
            let error = io::Error::other("they are not what they were set to");
            Err(Error::step(Step::DropPrivileges, what, error))
        };
        if !self.has_ids()? {
            return failed("user and group ids");
        }
        if self.exact_groups && !same_groups(&self.groups)? {
            return failed("supplementary groups");
        }
        #[cfg(target_os = "linux")]
        if sys::file_system_ids() != (self.uid.as_raw(), self.gid.as_raw()) {
            return failed("file system ids");
        }
        #[cfg(target_os = "linux")]
        if self.limits_capabilities(capabilities)
            && sys::Capabilities::get().during(Step::DropPrivileges, "capabilities")? != exactly(capabilities)
        {
            return failed("capabilities");
        }
        if !self.uid.is_root() && (set_uid(Uid::from_raw(0)).is_ok() || self.regains_group()) {
            return failed("root's ids");
        }
        Ok(())
    }

    fn regains_group(&self) -> bool {
        self.gid.as_raw() != 0 && set_gid(Gid::from_raw(0)).is_ok()
    }
}

#[cfg(not(target_vendor = "apple"))]
fn set_uid(uid: Uid) -> nix::Result<()> {
    unistd::setresuid(uid, uid, uid)
}

#[cfg(not(target_vendor = "apple"))]
fn set_gid(gid: Gid) -> nix::Result<()> {
    unistd::setresgid(gid, gid, gid)
}

#[cfg(not(target_vendor = "apple"))]
fn set_groups(groups: &[Gid]) -> nix::Result<()> {
    unistd::setgroups(groups)
}

#[cfg(not(target_vendor = "apple"))]
fn same_groups(groups: &[Gid]) -> Result<bool, Error> {
    let sorted = |groups: &[Gid]| {
        let mut ids: Vec<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let current = unistd::getgroups().during(Step::DropPrivileges, "the supplementary groups")?;
    Ok(sorted(groups) == sorted(&current))
}

// For root setuid(2) and setgid(2) change the saved ids as well; the group list is out of nix's reach on macOS.

#[cfg(target_vendor = "apple")]
fn set_uid(uid: Uid) -> nix::Result<()> {
    unistd::setuid(uid)
}

#[cfg(target_vendor = "apple")]
fn set_gid(gid: Gid) -> nix::Result<()> {
    unistd::setgid(gid)
}

#[cfg(target_vendor = "apple")]
fn set_groups(groups: &[Gid]) -> nix::Result<()> {
    sys::set_groups(groups)
}

#[cfg(target_vendor = "apple")]
fn same_groups(_: &[Gid]) -> Result<bool, Error> {
    Ok(true)
}

/// Lets nothing but the wanted capabilities, and these for sure, survive the change of the user id, whatever the caller
/// has made of the securebits. Where it has locked them, what [`set_capabilities`] does must do.
#[cfg(target_os = "linux")]
fn prepare_capabilities(capabilities: u64) -> Result<(), Error> {
    if sys::prctl(sys::Prctl::GetSecurebits).during(Step::DropPrivileges, "securebits")? != 0 {
        match sys::prctl(sys::Prctl::SetSecurebits(0)) {
            Ok(_) | Err(Errno::EPERM) => {}
            Err(error) => return Err(error).during(Step::DropPrivileges, "securebits"),
        }
    }
    if capabilities != 0 {
        sys::prctl(sys::Prctl::KeepCapabilities(true)).during(Step::DropPrivileges, "capabilities to keep")?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn set_capabilities(capabilities: u64) -> Result<(), Error> {
    exactly(capabilities).set().during(Step::DropPrivileges, "capabilities")?;
    if capabilities != 0 {
        sys::prctl(sys::Prctl::KeepCapabilities(false)).during(Step::DropPrivileges, "capabilities to keep")?;
    }
    match sys::prctl(sys::Prctl::ClearAmbient) {
        // Linux before 4.3 has no ambient set.
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(error).during(Step::DropPrivileges, "ambient capabilities"),
    }
}

/// For this process and not for what it executes: nothing is inheritable, and so nothing ambient.
#[cfg(target_os = "linux")]
fn exactly(capabilities: u64) -> sys::Capabilities {
    sys::Capabilities { permitted: capabilities, effective: capabilities, inheritable: 0 }
}

fn list(groups: &[Gid]) -> String {
    groups.iter().map(Gid::to_string).collect::<Vec<_>>().join(", ")
}
