//! Looks up users and groups in a short-lived child. The C library asks modules that
//! nsswitch.conf(5) names. Some (sss, ldap, winbind) start threads and keep descriptors, which must
//! not be there when this process forks and gives up its privileges.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::fcntl::OFlag;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{ForkResult, Gid, Uid, pipe2};

use super::{Found, Identity};
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::{self, SingleThreaded};

/// The modules that leave no threads and descriptors behind.
const TIDY: [&str; 6] = ["files", "compat", "db", "systemd", "altfiles", "extrausers"];
const DATABASES: [&str; 3] = ["passwd", "group", "initgroups"];
const OBJECT: &str = "the look-up of users and groups";

/// Checks whether all modules that look up users and groups are tidy.
pub(super) fn are_modules_tidy() -> bool {
    // musl has no modules.
    if !cfg!(target_env = "gnu") {
        return true;
    }
    match std::fs::read("/etc/nsswitch.conf") {
        Ok(text) => String::from_utf8_lossy(&text).lines().all(is_line_tidy),
        Err(_) => true,
    }
}

fn is_line_tidy(line: &str) -> bool {
    let line = match line.split_once('#') {
        Some((line, _comment)) => line,
        None => line,
    };
    let Some((database, services)) = line.split_once(':') else {
        return true;
    };
    if !DATABASES.contains(&database.trim()) {
        return true;
    }
    // The words in brackets are actions, not modules: `[NOTFOUND=return]`.
    let mut actions = false;
    services
        .replace('[', " [")
        .replace(']', "] ")
        .split_whitespace()
        .all(|word| {
            actions |= word.starts_with('[');
            let is_action = actions;
            actions &= !word.ends_with(']');
            is_action || TIDY.contains(&word)
        })
}

/// Calls `look_up` in a child, and returns its result.
pub(super) fn look_up(
    alone: &SingleThreaded,
    look_up: impl FnOnce() -> Result<Found, Error>,
) -> Result<Found, Error> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).during(Step::DropPrivileges, OBJECT)?;
    match sys::fork(alone).during(Step::DropPrivileges, OBJECT)? {
        ForkResult::Child => {
            _ = catch_unwind(AssertUnwindSafe(|| send(write, &look_up())));
            sys::exit_now(0)
        }
        ForkResult::Parent { child } => {
            drop(write);
            let answer = receive(read);
            // A handler of `configure`'s may have reaped it.
            _ = sys::wait(child, WaitPidFlag::empty());
            let answer = answer.during(Step::DropPrivileges, OBJECT)?;
            match decode(&answer) {
                Some(found) => found,
                None => Err(io::ErrorKind::InvalidData).during(Step::DropPrivileges, OBJECT),
            }
        }
    }
}

fn send(pipe: OwnedFd, found: &Result<Found, Error>) -> io::Result<()> {
    let answer = encode(found);
    let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
    File::from(pipe).write_all(&[&length.to_ne_bytes()[..], &answer].concat())
}

fn receive(pipe: OwnedFd) -> io::Result<Vec<u8>> {
    let mut pipe = File::from(pipe);
    let mut length = [0; 4];
    pipe.read_exact(&mut length)?;
    let mut answer = Vec::new();
    pipe.take(u32::from_ne_bytes(length).into())
        .read_to_end(&mut answer)?;
    Ok(answer)
}

/// The result as texts that end with a NUL byte each. No name or path holds one.
fn encode(found: &Result<Found, Error>) -> Vec<u8> {
    let mut texts = match found {
        Err(error) => encode_error(error),
        Ok((None, _)) => vec!["unchanged".into()],
        Ok((Some(identity), _)) => encode_identity(identity),
    };
    if let Ok((_, variables)) = found {
        for (name, value) in variables {
            texts.extend([OsString::from(name), value.clone()]);
        }
    }
    texts
        .iter()
        .flat_map(|text| [text.as_bytes(), b"\0"].concat())
        .collect()
}

fn encode_error(error: &Error) -> Vec<OsString> {
    let errno = error.errno().unwrap_or(0).to_string();
    let source = match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => String::new(),
    };
    let object = error.object();
    vec!["error".into(), errno.into(), object.into(), source.into()]
}

fn encode_identity(identity: &Identity) -> Vec<OsString> {
    let groups: Vec<String> = identity.groups.iter().map(Gid::to_string).collect();
    vec![
        "identity".into(),
        identity.uid.to_string().into(),
        identity.gid.to_string().into(),
        groups.join(",").into(),
        identity.exact_groups.to_string().into(),
    ]
}

fn decode(answer: &[u8]) -> Option<Result<Found, Error>> {
    let mut texts = answer
        .strip_suffix(b"\0")?
        .split(|&byte| byte == 0)
        .map(OsStr::from_bytes);
    let identity = match texts.next()?.to_str()? {
        "error" => return Some(Err(decode_error(&mut texts)?)),
        "unchanged" => None,
        _ => Some(decode_identity(&mut texts)?),
    };
    let mut variables = Vec::new();
    while let Some(name) = texts.next() {
        let name = super::VARIABLES.into_iter().find(|&known| name == known)?;
        variables.push((name, texts.next()?.to_owned()));
    }
    Some(Ok((identity, variables)))
}

fn decode_error<'a>(texts: &mut impl Iterator<Item = &'a OsStr>) -> Option<Error> {
    let errno = texts.next()?.to_str()?.parse().ok()?;
    let object = texts.next()?.to_string_lossy();
    let source = texts.next()?.to_string_lossy();
    let source = match errno {
        0 => io::Error::other(source.into_owned()),
        errno => io::Error::from_raw_os_error(errno),
    };
    Some(Error::step(Step::DropPrivileges, object, source))
}

fn decode_identity<'a>(texts: &mut impl Iterator<Item = &'a OsStr>) -> Option<Identity> {
    let mut next = || texts.next()?.to_str();
    let uid = Uid::from_raw(next()?.parse().ok()?);
    let gid = Gid::from_raw(next()?.parse().ok()?);
    let mut groups = Vec::new();
    for group in next()?.split_terminator(',') {
        groups.push(Gid::from_raw(group.parse().ok()?));
    }
    Some(Identity {
        uid,
        gid,
        groups,
        exact_groups: next()? == "true",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_their_lines() {
        for tidy in [
            "passwd: files systemd",
            "hosts: sss",
            "group: files [SUCCESS=merge] systemd # sss",
            "",
            "passwd:",
        ] {
            assert!(is_line_tidy(tidy), "{tidy}");
        }
        for other in [
            "passwd: files sss",
            "group:sss",
            "initgroups: files [NOTFOUND=return UNAVAIL=continue] ldap",
        ] {
            assert!(!is_line_tidy(other), "{other}");
        }
    }

    #[test]
    fn what_is_found_comes_back() {
        let identity = |exact_groups| Identity {
            uid: Uid::from_raw(7),
            gid: Gid::from_raw(8),
            groups: vec![Gid::from_raw(8), Gid::from_raw(9)],
            exact_groups,
        };
        let variables = vec![("HOME", "/é".into()), ("SHELL", "".into())];
        for found in [
            (None, variables.clone()),
            (Some(identity(true)), variables),
            (Some(identity(false)), vec![]),
        ] {
            let text = format!("{found:?}");
            assert_eq!(
                format!("{:?}", decode(&encode(&Ok(found))).unwrap().unwrap()),
                text
            );
        }
        for source in [io::Error::other("no"), io::Error::from_raw_os_error(2)] {
            let error = Error::step(Step::DropPrivileges, "user x", source);
            let text = error.to_string();
            let errno = error.errno();
            let back = decode(&encode(&Err(error))).unwrap().unwrap_err();
            assert_eq!((back.to_string(), back.errno()), (text, errno));
        }
        assert!(decode(b"").is_none());
    }
}
