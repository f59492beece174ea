//! The service with control commands, in a machine.

use daemon_harness::managers::{Machine, Ran};
pub(crate) use daemon_tests::ctl::root;

/// Its settings, as a variable.
pub(crate) const CTL: &str = "CTL=pidfile=/run/ctl.pid listen=/run/ctl.address";

/// A command line of it, given in a shell of the machine.
pub(crate) fn ctl(machine: &Machine, line: &str) -> Ran {
    machine.sh(&format!("export '{CTL}'; ctl {line}; exit $?"))
}

/// The pid in its pidfile.
pub(crate) fn pid(machine: &Machine) -> Option<u32> {
    std::fs::read_to_string(machine.path("/run/ctl.pid"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The same once it is ready.
pub(crate) fn ready_pid(machine: &Machine) -> Option<u32> {
    let pid = pid(machine)?;
    (ctl(machine, "status").status == 0).then_some(pid)
}
