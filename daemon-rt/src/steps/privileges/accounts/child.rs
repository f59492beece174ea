//! Looking up in a short-lived child. The C library asks modules that nsswitch.conf(5) names, and
//! some (sss, ldap, winbind) start threads and keep descriptors, which must not be there when this
//! process forks and gives up its privileges.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::fcntl::OFlag;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::{ForkResult, Gid, Uid, pipe2};

use super::{Found, Identity};
use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::{self, SingleThreaded};

/// Modules that leave nothing behind.
const TIDY: [&str; 6] = ["files", "compat", "db", "systemd", "altfiles", "extrausers"];
const DATABASES: [&str; 3] = ["passwd", "group", "initgroups"];

/// Whether the modules that look up users and groups leave nothing behind.
pub(super) fn are_modules_tidy() -> bool {
    // With musl there are none.
    if !cfg!(target_env = "gnu") {
        return true;
    }
    std::fs::read_to_string("/etc/nsswitch.conf")
        .map_or(true, |text| text.lines().all(is_line_tidy))
}

fn is_line_tidy(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let Some((database, services)) = line.split_once(':') else {
        return true;
    };
    if !DATABASES.contains(&database.trim()) {
        return true;
    }
    // What stands in brackets says what becomes of the answer: `[NOTFOUND=return]`.
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

/// Calls `look_up` in a child, and returns what it has found.
pub(super) fn look_up(
    alone: &SingleThreaded,
    look_up: impl FnOnce() -> Result<Found, Error>,
) -> Result<Found, Error> {
    let during = |error: io::Error| {
        Error::step(
            Step::DropPrivileges,
            "the look-up of users and groups",
            error,
        )
    };
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(|error| during(error.into()))?;
    match sys::fork(alone).during(Step::DropPrivileges, "the look-up of users and groups")? {
        ForkResult::Child => {
            _ = catch_unwind(AssertUnwindSafe(|| {
                let answer = encode(&look_up());
                let length = u32::try_from(answer.len()).unwrap_or(u32::MAX);
                std::fs::File::from(write).write_all(&[&length.to_ne_bytes()[..], &answer].concat())
            }));
            sys::exit_now(0)
        }
        ForkResult::Parent { child } => {
            drop(write);
            let answer = receive(&mut read.into());
            // Reaped by somebody else, perhaps: a handler of `configure`'s.
            _ = sys::wait(child, WaitPidFlag::empty());
            decode(&answer.map_err(during)?)
                .ok_or_else(|| during(io::ErrorKind::InvalidData.into()))?
        }
    }
}

fn receive(pipe: &mut std::fs::File) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    pipe.read_exact(&mut length)?;
    let mut answer = Vec::new();
    pipe.take(u32::from_ne_bytes(length).into())
        .read_to_end(&mut answer)?;
    Ok(answer)
}

/// What was found, or the error, as texts that end with a NUL byte each; no name or path holds one.
fn encode(found: &Result<Found, Error>) -> Vec<u8> {
    let mut texts: Vec<OsString> = Vec::new();
    match found {
        Err(error) => {
            let source =
                std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
            texts.extend([
                "error".into(),
                error.errno().unwrap_or(0).to_string().into(),
            ]);
            texts.extend([error.object().into(), source.into()]);
        }
        Ok((identity, variables)) => {
            match identity {
                None => texts.push("unchanged".into()),
                Some(Identity {
                    uid,
                    gid,
                    groups,
                    exact_groups,
                }) => {
                    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
                    texts.extend([
                        "identity".into(),
                        uid.to_string().into(),
                        gid.to_string().into(),
                    ]);
                    texts.extend([groups.join(",").into(), exact_groups.to_string().into()]);
                }
            }
            for (name, value) in variables {
                texts.extend([OsString::from(name), value.clone()]);
            }
        }
    }
    texts
        .iter()
        .flat_map(|text| [text.as_bytes(), b"\0"].concat())
        .collect()
}

fn decode(answer: &[u8]) -> Option<Result<Found, Error>> {
    let mut texts = answer
        .strip_suffix(b"\0")?
        .split(|&byte| byte == 0)
        .map(OsStr::from_bytes);
    let number = |text: Option<&OsStr>| text?.to_str()?.parse::<u32>().ok();
    let identity = match texts.next()?.to_str()? {
        "error" => {
            let errno = texts.next()?.to_str()?.parse().ok()?;
            let (object, source) = (
                texts.next()?.to_string_lossy(),
                texts.next()?.to_string_lossy(),
            );
            let source = if errno == 0 {
                io::Error::other(source.into_owned())
            } else {
                io::Error::from_raw_os_error(errno)
            };
            return Some(Err(Error::step(Step::DropPrivileges, object, source)));
        }
        "unchanged" => None,
        _ => {
            let (uid, gid) = (
                Uid::from_raw(number(texts.next())?),
                Gid::from_raw(number(texts.next())?),
            );
            let groups = texts.next()?.to_str()?.split_terminator(',');
            let groups = groups
                .map(|group| group.parse().ok().map(Gid::from_raw))
                .collect::<Option<_>>()?;
            Some(Identity {
                uid,
                gid,
                groups,
                exact_groups: texts.next()? == "true",
            })
        }
    };
    let mut variables = Vec::new();
    while let Some(name) = texts.next() {
        let name = super::VARIABLES.into_iter().find(|&known| name == known)?;
        variables.push((name, texts.next()?.to_owned()));
    }
    Some(Ok((identity, variables)))
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
