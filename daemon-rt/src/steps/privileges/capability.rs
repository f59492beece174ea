//! The capabilities that a service keeps, see capabilities(7).

use crate::names::{CAPABILITIES, NEVER_KEPT};

/// Returns the bit of a capability.
pub(crate) fn bit(name: &str) -> Result<u64, &'static str> {
    if NEVER_KEPT.contains(&name) {
        return Err("with it the service could become root again");
    }
    match CAPABILITIES.iter().position(|&known| known == name) {
        Some(number) => Ok(1 << number),
        None => Err("unknown capability"),
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::{are_only, gain_no_more, join_new_keyring, keep_only, prepare};
#[cfg(not(target_os = "linux"))]
pub(crate) use none::{are_only, gain_no_more, join_new_keyring, keep_only, prepare};

#[cfg(target_os = "linux")]
mod linux {
    use nix::errno::Errno;
    use nix::sys::prctl::{set_keepcaps, set_no_new_privs};

    use crate::sys::{self, Capabilities, Prctl, prctl};

    /// Makes these capabilities survive the change of the user id, whatever securebits the caller
    /// has set. If it has locked them, [`keep_only`] does what they prevent.
    pub(crate) fn prepare(capabilities: u64) -> nix::Result<()> {
        if prctl(Prctl::GetSecurebits)? != 0 {
            match prctl(Prctl::ClearSecurebits) {
                Ok(_) | Err(Errno::EPERM) => {}
                Err(error) => return Err(error),
            }
        }
        if capabilities != 0 {
            set_keepcaps(true)?;
        }
        Ok(())
    }

    /// Gives up all other capabilities.
    pub(crate) fn keep_only(capabilities: u64) -> nix::Result<()> {
        exactly(capabilities).set()?;
        if capabilities != 0 {
            set_keepcaps(false)?;
        }
        match prctl(Prctl::ClearAmbient) {
            // Linux before 4.3 has no ambient set.
            Ok(_) | Err(Errno::EINVAL) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Checks that this process has exactly these capabilities.
    pub(crate) fn are_only(capabilities: u64) -> nix::Result<bool> {
        Ok(Capabilities::get()? == exactly(capabilities))
    }

    /// The sets of this process. The programs that it executes get none: no capability is
    /// inheritable, so none is ambient.
    fn exactly(capabilities: u64) -> Capabilities {
        Capabilities {
            permitted: capabilities,
            effective: capabilities,
            inheritable: 0,
        }
    }

    /// Makes sure that this process and what it executes never gain privileges.
    pub(crate) fn gain_no_more() -> nix::Result<()> {
        set_no_new_privs()
    }

    /// Leaves the caller's session keyring, which may hold its keys. It is not a failure if the
    /// kernel has no keyrings, or a filter forbids them.
    pub(crate) fn join_new_keyring() -> nix::Result<()> {
        match sys::join_new_keyring() {
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => Ok(()),
            result => result,
        }
    }
}

/// Systems without capabilities.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux they can fail")]
mod none {
    pub(crate) fn prepare(_: u64) -> nix::Result<()> {
        Ok(())
    }

    pub(crate) fn keep_only(_: u64) -> nix::Result<()> {
        Ok(())
    }

    pub(crate) fn are_only(_: u64) -> nix::Result<bool> {
        Ok(true)
    }

    pub(crate) fn gain_no_more() -> nix::Result<()> {
        Ok(())
    }

    pub(crate) fn join_new_keyring() -> nix::Result<()> {
        Ok(())
    }
}
