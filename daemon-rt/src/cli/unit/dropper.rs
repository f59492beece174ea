//! Who gives up root under systemd.

use super::input::UnitInput;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropper {
    /// systemd, before it executes the service.
    Manager,
    /// The service, as under every other manager.
    Service,
    /// Neither: the service stays root.
    Neither,
}

impl Dropper {
    pub(super) fn of(input: &UnitInput<'_>) -> Self {
        let daemon = input.daemon;
        if !daemon.gives_up_root() {
            return Self::Neither;
        }
        let needs_root = input.options.privileged_init
            || input.pidfile.is_some()
            || input.chroot.is_some()
            || daemon.groups.is_some() // systemd only adds to the user's own
            || daemon.no_new_privs == Some(false); // systemd sets it with nearly all of the sandbox, unless as root
        if needs_root {
            Self::Service
        } else {
            Self::Manager
        }
    }
}
