//! The search for the manager that runs here, by what only that manager leaves or is.

use std::io;
use std::path::Path;

use nix::unistd::Pid;

use crate::control::process;
use crate::daemon::action::Manager;
use crate::manager::supervisor;
use crate::sys::proc;

/// A manager by its process.
#[derive(Clone, Copy)]
pub(super) struct Program {
    name: &'static str,
    manager: Manager,
}

impl Program {
    pub(super) const RUNSVDIR: Self = Self {
        name: "runsvdir",
        manager: Manager::Runit,
    };
    pub(super) const S6_SVSCAN: Self = Self {
        name: "s6-svscan",
        manager: Manager::S6,
    };
    pub(super) const SUPERVISORD: Self = Self {
        name: "supervisord",
        manager: Manager::Supervisord,
    };
    const DINIT: Self = Self {
        name: "dinit",
        manager: Manager::Dinit,
    };
    const ALL: [Self; 4] = [
        Self::RUNSVDIR,
        Self::S6_SVSCAN,
        Self::SUPERVISORD,
        Self::DINIT,
    ];

    fn is(self, process: Pid) -> bool {
        match self.manager {
            Manager::Supervisord => supervisor::is_supervisord(process),
            _ => supervisor::comm(process, &mut [0; 16]) == Some(self.name.as_bytes()),
        }
    }
}

/// Returns the manager that runs here.
pub(in crate::cli) fn manager() -> io::Result<Manager> {
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(Manager::Systemd);
    }
    if Path::new("/run/openrc/softlevel").exists() {
        return Ok(Manager::Openrc);
    }
    let mut found: Vec<Manager> = Vec::new();
    for mut program in Program::ALL {
        if program.manager == Manager::S6 && Path::new("/run/s6-rc/compiled").exists() {
            program.manager = Manager::S6Rc;
        }
        match processes(program).first() {
            Some(first) if first.as_raw() == 1 => return Ok(program.manager),
            Some(_) => found.push(program.manager),
            None => {}
        }
    }
    let several = match found.as_slice() {
        [only] => return Ok(*only),
        [] => {
            let init = supervisor::comm(Pid::from_raw(1), &mut [0; 16]) == Some(b"init");
            if init && Path::new("/etc/init.d").is_dir() {
                return Ok(Manager::Sysv);
            }
            "no service manager is known to run here"
        }
        _ => "more than one service manager runs here",
    };
    Err(io::Error::other(format!("{several}: name one")))
}

/// Returns the process of a manager.
pub(super) fn process(program: Program) -> io::Result<Pid> {
    match processes(program).first() {
        Some(process) => Ok(*process),
        None => Err(io::Error::other(format!("{} does not run", program.name))),
    }
}

/// The processes of this program that root or the caller has, outside of containers, in their order.
fn processes(program: Program) -> Vec<Pid> {
    let mut found = Vec::new();
    for pid in proc::pids() {
        if program.is(pid) && process::is_trusted(pid) && !proc::is_below(pid) && proc::is_ours() {
            found.push(pid);
        }
    }
    found.sort();
    found
}
