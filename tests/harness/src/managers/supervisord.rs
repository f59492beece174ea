//! supervisord as PID 1, as in containers.

use std::ffi::OsStr;
use std::ops::Deref;

use super::{Machine, Ran, Root, wait_until};

const CONFIGURATION: &str = "/etc/supervisor/supervisord.conf";

const SETTINGS: &str = "[unix_http_server]
file = /run/supervisor.sock
[supervisord]
nodaemon = true
user = root
logfile = /dev/stdout
logfile_maxbytes = 0
pidfile = /run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl = unix:///run/supervisor.sock
[include]
files = /etc/supervisor/conf.d/*.conf
";

/// A machine under supervisord. Programs go to `/etc/supervisor/conf.d/NAME.conf`.
#[derive(Debug)]
pub struct Supervisord {
    machine: Machine,
}

impl Supervisord {
    /// Boots a machine under supervisord, and returns when it answers.
    pub fn boot(root: Root) -> Self {
        let root = root.empty("/etc/supervisor").text(CONFIGURATION, SETTINGS);
        let machine = Machine::boot_with(root, ["supervisord", "-c", CONFIGURATION]);
        let supervisord = Self { machine };
        wait_until("supervisord", || {
            supervisord.ctl(["pid"]).success().then_some(())
        });
        supervisord
    }

    /// `supervisorctl`.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command(["supervisorctl", "-c", CONFIGURATION]);
        command.args(arguments);
        Ran::of(command)
    }

    /// `STARTING`, `RUNNING`, `BACKOFF`, `EXITED`, `FATAL`, `STOPPED` …
    pub fn state(&self, program: &str) -> String {
        let line = self.ctl(["status", program]).stdout; // greeter   RUNNING   pid 7, uptime 0:00:03
        line.split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the program is in this state.
    pub fn wait_for(&self, program: &str, state: &str) {
        wait_until(&format!("{program} {state}"), || {
            (self.state(program) == state).then_some(())
        });
    }

    /// The process that supervisord started, by its id inside.
    pub fn pid(&self, program: &str) -> Option<u32> {
        self.ctl(["pid", program])
            .stdout
            .trim()
            .parse()
            .ok()
            .filter(|pid| *pid != 0)
    }
}

impl Deref for Supervisord {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
