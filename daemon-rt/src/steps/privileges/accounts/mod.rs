//! Users and groups, by name or number: looked up before the fork, so that a mistake is reported at
//! once.

use std::ffi::{CStr, OsString};
use std::io;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{self, Gid, Group, Uid, User, geteuid, read};

use crate::daemon::{Daemon, NameOrId};
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::{self, retry};

#[cfg(target_os = "linux")]
mod child;

/// Whom the service becomes.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// Sorted.
    pub(crate) groups: Vec<Gid>,
    /// Whether the groups were asked for, or are what the system says of the user.
    pub(crate) exact_groups: bool,
}

const PASSWD: &CStr = c"/etc/passwd";

/// What the environment says of a user.
pub(crate) type Variables = Vec<(&'static str, OsString)>;

/// What is looked up: whom the service becomes, if that changes, and what the environment is to say
/// of the user.
pub(crate) type Found = (Option<Identity>, Variables);

/// Looks up the users and groups that the settings name, if they name any, and what the environment
/// is to say of the user.
pub(crate) fn look_up(daemon: &Daemon) -> Result<Found, Error> {
    let named = daemon.user.is_some() || daemon.group.is_some() || daemon.groups.is_some();
    if !named {
        if let Some(variables) = current_user_in_passwd(geteuid()) {
            return Ok((None, variables));
        }
    }
    #[cfg(target_os = "linux")]
    if !child::are_modules_tidy() {
        // In the foreground there may be threads, of `configure`'s: a module's do no more harm
        // then.
        if let Ok(alone) = sys::SingleThreaded::check() {
            return child::look_up(&alone, || ask_the_system(daemon));
        }
    }
    ask_the_system(daemon)
}

/// The same by the C library.
fn ask_the_system(daemon: &Daemon) -> Result<Found, Error> {
    let (uid, user) = match &daemon.user {
        Some(user) => look_up_user(user)?,
        None => (geteuid(), None),
    };
    let named = daemon.user.is_some() || daemon.group.is_some() || daemon.groups.is_some();
    let identity = named
        .then(|| identity(daemon, uid, user.as_ref()))
        .transpose()?;
    let variables = match user {
        Some(user) => variables(user.name.into(), user.dir.into(), user.shell.into()),
        None if daemon.user.is_none() => of_current_user(uid)?,
        None => of_nobody(),
    };
    Ok((identity, variables))
}

/// Their names.
#[cfg(target_os = "linux")]
const VARIABLES: [&str; 4] = ["HOME", "LOGNAME", "SHELL", "USER"];

fn variables(name: OsString, home: OsString, shell: OsString) -> Variables {
    vec![
        ("HOME", home),
        ("LOGNAME", name.clone()),
        ("SHELL", shell),
        ("USER", name),
    ]
}

fn of_nobody() -> Variables {
    vec![("HOME", "/".into())]
}

/// What the beginning of /etc/passwd says of the user that the service goes on running as. Only if
/// it says nothing the C library is asked, which takes five times as long, as it also looks into
/// its caches, configuration and other sources.
fn current_user_in_passwd(uid: Uid) -> Option<Variables> {
    let mut passwd = [0; 2048];
    let read = open(PASSWD, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|file| retry(|| read(&file, &mut passwd)));
    let length = read.unwrap_or(0);
    in_passwd(&passwd[..length], uid)
}

fn of_current_user(uid: Uid) -> Result<Variables, Error> {
    if let Some(variables) = current_user_in_passwd(uid) {
        return Ok(variables);
    }
    let user = absent(User::from_uid(uid)).during(Step::DropPrivileges, "the current user")?;
    Ok(user.map_or_else(of_nobody, |user| {
        variables(user.name.into(), user.dir.into(), user.shell.into())
    }))
}

/// The first entry of a user in the complete lines of a text in the format of passwd(5). Lines that
/// are none, such as those that start with a `+` and refer to NIS, have no number where the user id
/// stands.
fn in_passwd(passwd: &[u8], uid: Uid) -> Option<Variables> {
    let end = passwd.iter().rposition(|&byte| byte == b'\n')?;
    passwd[..end].split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let mut next = || {
            fields
                .next()
                .and_then(|field| std::str::from_utf8(field).ok())
        };
        let (name, _, number, _, _, home, shell) = (
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
            next()?,
        );
        let entry = !name.starts_with(['+', '-', '#']) && number.parse() == Ok(uid.as_raw());
        entry.then(|| variables(name.into(), home.into(), shell.into()))
    })
}

fn identity(daemon: &Daemon, uid: Uid, user: Option<&User>) -> Result<Identity, Error> {
    let gid = match (&daemon.group, &daemon.user, user) {
        (Some(group), ..) => look_up_group(group)?,
        (None, Some(_), Some(user)) => user.gid,
        (None, Some(_), None) => {
            let error =
                io::Error::other("has no entry that names a primary group: set `group` too");
            return Err(Error::step(
                Step::DropPrivileges,
                format!("user {uid}"),
                error,
            ));
        }
        (None, None, _) => unistd::getegid(),
    };
    let mut groups: Vec<Gid> = match (&daemon.groups, &daemon.user, user) {
        (Some(groups), ..) => groups.iter().map(look_up_group).collect::<Result<_, _>>()?,
        (None, Some(_), Some(user)) => groups_of(user, gid)?,
        (None, ..) => vec![gid],
    };
    groups.sort_unstable_by_key(|gid| gid.as_raw());
    groups.dedup();
    Ok(Identity {
        uid,
        gid,
        groups,
        exact_groups: daemon.groups.is_some(),
    })
}

fn look_up_user(user: &NameOrId) -> Result<(Uid, Option<User>), Error> {
    let found = || -> io::Result<_> {
        if let Some(name) = user.name() {
            if let Some(user) = absent(User::from_name(name))? {
                return Ok((user.uid, Some(user)));
            }
        }
        let uid = Uid::from_raw(user.id()?);
        Ok((uid, absent(User::from_uid(uid))?))
    };
    found().during(Step::DropPrivileges, format_args!("user {user}"))
}

fn look_up_group(group: &NameOrId) -> Result<Gid, Error> {
    let found = || -> io::Result<_> {
        if let Some(name) = group.name() {
            if let Some(group) = absent(Group::from_name(name))? {
                return Ok(group.gid);
            }
        }
        group.id().map(Gid::from_raw)
    };
    found().during(Step::DropPrivileges, format_args!("group {group}"))
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
    let name =
        std::ffi::CString::new(user.name.as_str()).during(Step::DropPrivileges, &user.name)?;
    sys::groups_of(&name, gid).during(
        Step::DropPrivileges,
        format_args!("the groups of {}", user.name),
    )
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
            Self::Id(u32::MAX) => Err(io::Error::other(
                "-1 is no id: the system calls take it for \"unchanged\"",
            )),
            Self::Id(id) => Ok(*id),
            Self::Name(name) => match name.parse() {
                Ok(id) if !name.starts_with('+') => Self::Id(id).id(),
                _ => Err(io::Error::other("there is none of this name")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Uid, in_passwd};

    const PASSWD: &[u8] = b"# 7:x:7:7::/:/bin/sh\n+::::::\n+nis:x:7:7::/nis:/bin/sh\nshort:x:7:7\n\
        root:x:0:0:root:/root:/bin/bash\nseven:x:7:7::/first:\nother:x:7:7::/second:/bin/sh\nlatin:x:8:8::/\xe9:/bin/sh\n";

    #[test]
    fn the_first_entry_of_a_user_counts() {
        let variables = in_passwd(PASSWD, Uid::from_raw(7)).unwrap();
        let expected = [
            ("HOME", "/first"),
            ("LOGNAME", "seven"),
            ("SHELL", ""),
            ("USER", "seven"),
        ];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name, value.into()))
        );
    }

    #[test]
    fn what_is_not_there_is_left_to_the_c_library() {
        for uid in [8, 9, 700] {
            assert_eq!(in_passwd(PASSWD, Uid::from_raw(uid)), None);
        }
        assert_eq!(in_passwd(b"", Uid::from_raw(0)), None);
        assert_eq!(
            in_passwd(b"cut:x:9:9::/home/c:/bin/s", Uid::from_raw(9)),
            None
        );
    }
}
