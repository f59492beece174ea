//! Looks up users and groups, by name or number, before the fork: so a mistake is reported at once.

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

/// The ids that the service takes on.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// Sorted.
    pub(crate) groups: Vec<Gid>,
    /// The groups come from the settings, not from the user's account.
    pub(crate) exact_groups: bool,
}

const PASSWD: &CStr = c"/etc/passwd";

/// The environment variables that describe a user.
pub(crate) type Variables = Vec<(&'static str, OsString)>;

/// The result of a look-up: the ids, if they are to change, and the variables of the user.
pub(crate) type Found = (Option<Identity>, Variables);

/// Looks up the users and groups that the settings name, if they name any, and the variables that
/// describe the user.
pub(crate) fn look_up(daemon: &Daemon) -> Result<Found, Error> {
    if !changes_ids(daemon) {
        if let Some(variables) = current_user_in_passwd(geteuid()) {
            return Ok((None, variables));
        }
    }
    #[cfg(target_os = "linux")]
    if !child::are_modules_tidy() {
        // In the foreground `configure` may have started threads. Then a module's threads do no
        // more harm.
        if let Some(alone) = sys::SingleThreaded::now() {
            return child::look_up(&alone, || ask_the_system(daemon));
        }
    }
    ask_the_system(daemon)
}

fn changes_ids(daemon: &Daemon) -> bool {
    daemon.user.is_some() || daemon.group.is_some() || daemon.groups.is_some()
}

/// Looks up the same by the C library.
fn ask_the_system(daemon: &Daemon) -> Result<Found, Error> {
    let (uid, user) = match &daemon.user {
        Some(user) => look_up_user(user)?,
        None => (geteuid(), None),
    };
    let identity = if changes_ids(daemon) {
        Some(identity(daemon, uid, user.as_ref())?)
    } else {
        None
    };
    let variables = match user {
        None if daemon.user.is_none() => variables_of_current_user(uid)?,
        user => variables_of(user),
    };
    Ok((identity, variables))
}

/// The names of the variables.
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

fn variables_of(user: Option<User>) -> Variables {
    match user {
        Some(user) => variables(user.name.into(), user.dir.into(), user.shell.into()),
        None => vec![("HOME", "/".into())],
    }
}

/// Reads the entry of the current user in the beginning of /etc/passwd. The C library takes five
/// times as long, because it also looks into its caches, configuration and other sources: it is
/// asked only if there is no entry here.
fn current_user_in_passwd(uid: Uid) -> Option<Variables> {
    let passwd = open(PASSWD, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 2048];
    let length = retry(|| read(&passwd, &mut text)).ok()?;
    in_passwd(&text[..length], uid)
}

fn variables_of_current_user(uid: Uid) -> Result<Variables, Error> {
    if let Some(variables) = current_user_in_passwd(uid) {
        return Ok(variables);
    }
    let user = absent(User::from_uid(uid)).during(Step::DropPrivileges, "the current user")?;
    Ok(variables_of(user))
}

/// Finds the first entry of a user in the complete lines of a text in the format of passwd(5).
fn in_passwd(passwd: &[u8], uid: Uid) -> Option<Variables> {
    let end = passwd.iter().rposition(|&byte| byte == b'\n')?;
    let mut lines = passwd[..end].split(|&byte| byte == b'\n');
    lines.find_map(|line| in_line(line, uid))
}

fn in_line(line: &[u8], uid: Uid) -> Option<Variables> {
    let mut fields = line.split(|&byte| byte == b':');
    let mut next = || std::str::from_utf8(fields.next()?).ok();
    let [name, _, number, _, _, home, shell] = [
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
    ];
    // Lines that start with `+` or `-` refer to NIS.
    if name.starts_with(['+', '-', '#']) || number.parse() != Ok(uid.as_raw()) {
        return None;
    }
    Some(variables(name.into(), home.into(), shell.into()))
}

fn identity(daemon: &Daemon, uid: Uid, user: Option<&User>) -> Result<Identity, Error> {
    let gid = match (&daemon.group, &daemon.user, user) {
        (Some(group), ..) => look_up_group(group)?,
        (None, Some(_), Some(user)) => user.gid,
        (None, Some(_), None) => {
            let error = io::Error::other("no account names its primary group: set `group` too");
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
    find_user(user).during(Step::DropPrivileges, format_args!("user {user}"))
}

fn find_user(user: &NameOrId) -> io::Result<(Uid, Option<User>)> {
    if let Some(name) = user.name() {
        if let Some(user) = absent(User::from_name(name))? {
            return Ok((user.uid, Some(user)));
        }
    }
    let uid = Uid::from_raw(user.id()?);
    Ok((uid, absent(User::from_uid(uid))?))
}

fn look_up_group(group: &NameOrId) -> Result<Gid, Error> {
    find_group(group).during(Step::DropPrivileges, format_args!("group {group}"))
}

fn find_group(group: &NameOrId) -> io::Result<Gid> {
    if let Some(name) = group.name() {
        if let Some(group) = absent(Group::from_name(name))? {
            return Ok(group.gid);
        }
    }
    Ok(Gid::from_raw(group.id()?))
}

/// Takes the errors for `None` that mean that there is no such entry, see getpwnam(3).
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
    /// Returns the name to look up.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) if !name.contains('\0') => Some(name),
            _ => None,
        }
    }

    /// Returns the number, if no entry has such a name.
    fn id(&self) -> io::Result<u32> {
        match self {
            Self::Id(u32::MAX) => Err(io::Error::other(
                "-1 is not an id: it means \"unchanged\" to the system calls",
            )),
            Self::Id(id) => Ok(*id),
            Self::Name(name) => match name.parse() {
                Ok(id) if !name.starts_with('+') => Self::Id(id).id(),
                _ => Err(io::Error::other("not found")),
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
