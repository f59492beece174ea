//! Step 4: the environment.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::{self, Start};

/// The variables that are kept for every daemon: language and time zone.
const KEPT: [&str; 4] = ["LANG", "LANGUAGE", "LC_*", "TZ"];
/// Those that are kept as well, unless they may be another user's: they have the program tell more of
/// itself.
const KEPT_IF_TRUSTED: [&str; 3] = ["RUST_LOG", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
/// The `PATH` that systemd sets for system services.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The settings of step 4.
pub(crate) struct EnvironmentPlan {
    /// The memory of the inherited environment.
    pub(crate) inherited: sys::InheritedEnvironment,
    /// The names and patterns of other variables that are kept.
    pub(crate) keep: Vec<OsString>,
    /// The variables that describe the service's user.
    pub(crate) account: Vec<(&'static str, OsString)>,
}

/// Replaces the environment by what is kept of the caller's, the system's `PATH`, and the variables
/// that describe the user. The caller's value stays if `keep` names one of these. The inherited
/// strings are overwritten in memory.
pub(crate) fn clean_environment(start: &Start, plan: &EnvironmentPlan) -> Result<(), Error> {
    let mut entries: Vec<CString> = Vec::new();
    let trusts = !sys::is_set_uid();
    for entry in sys::environment(start) {
        let equals = entry.to_bytes().iter().position(|&byte| byte == b'=');
        let Some(equals @ 1..) = equals else { continue };
        let name = &entry.to_bytes()[..equals];
        if is_kept(name, trusts, &plan.keep) && !is_among(&entries, name) {
            entries.push(entry.to_owned());
        }
    }
    for (name, value) in &plan.account {
        add(&mut entries, name, value.as_bytes())?;
    }
    add(&mut entries, "PATH", PATH.as_bytes())?;
    sys::set_environment(start, entries);
    plan.inherited.erase();
    Ok(())
}

fn is_kept(name: &[u8], trusts: bool, keep: &[OsString]) -> bool {
    KEPT.iter().any(|pattern| matches(pattern.as_bytes(), name))
        || trusts && KEPT_IF_TRUSTED.iter().any(|kept| kept.as_bytes() == name)
        || keep.iter().any(|pattern| matches(pattern.as_bytes(), name))
}

/// Adds a variable, unless there is one of this name.
fn add(entries: &mut Vec<CString>, name: &str, value: &[u8]) -> Result<(), Error> {
    if !is_among(entries, name.as_bytes()) {
        let entry = [name.as_bytes(), b"=", value].concat();
        entries.push(CString::new(entry).during(Step::CleanEnvironment, name)?);
    }
    Ok(())
}

fn is_among(entries: &[CString], name: &[u8]) -> bool {
    entries.iter().any(|entry| {
        let rest = entry.to_bytes().strip_prefix(name);
        matches!(rest, Some([b'=', ..]))
    })
}

/// Checks whether this can be the name of a variable, perhaps with a `*` at its end.
pub(crate) fn is_pattern(name: &OsStr) -> bool {
    let ([exact @ .., b'*'] | exact) = name.as_bytes();
    !name.is_empty() && !exact.iter().any(|byte| b"=*\0".contains(byte))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', beginning)) => name.starts_with(beginning),
        _ => name == pattern,
    }
}
