//! Step 4: the environment.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{During, Error};
use crate::step::Step;
use crate::sys::{self, StartOfMain};

/// What everyone may keep: language and time zone.
const KEPT: [&str; 4] = ["LANG", "LANGUAGE", "LC_*", "TZ"];
/// As systemd sets it for system services.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What becomes of the environment.
pub(crate) struct EnvironmentPlan {
    /// The inherited one, in memory.
    pub(crate) inherited: sys::InheritedEnvironment,
    /// What else is kept of it.
    pub(crate) keep: Vec<OsString>,
    /// What is said of the user as whom the service runs.
    pub(crate) account: Vec<(&'static str, OsString)>,
}

/// Replaces the environment by what is kept of the caller's, the system's `PATH`, and what is said
/// of the user; where `keep` names one of these, the caller's value stays. The inherited strings
/// are overwritten in memory.
pub(crate) fn clean_environment(start: &StartOfMain, plan: &EnvironmentPlan) -> Result<(), Error> {
    let mut entries: Vec<CString> = Vec::new();
    for entry in sys::environment(start) {
        let equals = entry.to_bytes().iter().position(|&byte| byte == b'=');
        let Some(equals @ 1..) = equals else { continue };
        let name = &entry.to_bytes()[..equals];
        let kept = KEPT
            .iter()
            .map(OsStr::new)
            .chain(plan.keep.iter().map(OsString::as_os_str));
        if kept
            .into_iter()
            .any(|pattern| matches(pattern.as_bytes(), name))
            && !is_among(&entries, name)
        {
            entries.push(entry.to_owned());
        }
    }
    let account = plan
        .account
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    for (name, value) in account.chain([("PATH", PATH.as_bytes())]) {
        if !is_among(&entries, name.as_bytes()) {
            let entry = [name.as_bytes(), b"=", value].concat();
            entries.push(CString::new(entry).during(Step::CleanEnvironment, name)?);
        }
    }
    sys::set_environment(start, entries);
    plan.inherited.erase();
    Ok(())
}

/// Whether a variable of this name is among `NAME=value` entries.
fn is_among(entries: &[CString], name: &[u8]) -> bool {
    entries.iter().any(|entry| {
        entry
            .to_bytes()
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(b"="))
    })
}

/// Whether this can be the name of a variable, perhaps with a `*` at its end.
pub(crate) fn is_pattern(name: &OsStr) -> bool {
    let exact = name
        .as_bytes()
        .strip_suffix(b"*")
        .unwrap_or(name.as_bytes());
    !name.is_empty() && !exact.iter().any(|byte| b"=*\0".contains(byte))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', beginning)) => name.starts_with(beginning),
        _ => name == pattern,
    }
}
