//! What systemd knows of a process, asked of systemd itself: the name of a control group alone says
//! little, as all that a shell or cron starts below a service is in that service's group.

use std::io;
use std::time::Duration;

use nix::unistd::{Pid, Uid, geteuid};

use super::command;

/// How long systemd may take to answer. It answers while it starts or stops a service, too.
const PATIENCE: Duration = Duration::from_secs(10);

/// A unit, by the control group of a process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The user whose own systemd has the unit; `None` for the system's.
    pub(super) user: Option<Uid>,
}

/// What systemd says of a unit.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) main_pid: Option<Pid>,
    /// What `ExecStartPre=`, `ExecReload=` and the like run, and `ExecStart=` of `Type=forking`.
    pub(super) control_pid: Option<Pid>,
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) has_pidfile: bool,
    pub(super) remains_after_exit: bool,
    /// The path of its control group, if it has one.
    group: String,
    kill_mode: String,
}

impl Unit {
    /// The service in whose control group a process is. `None` in a scope, as of a login.
    pub(super) fn of(process: Pid) -> Option<Self> {
        groups_of(process)
            .iter()
            .find_map(|group| Self::in_group(group))
    }

    fn in_group(path: &str) -> Option<Self> {
        let mut parents = path.split('/');
        // Below the unit's own group there may be groups of the service's.
        let is_unit = |name: &&str| {
            [".service", ".scope", ".slice"]
                .iter()
                .any(|ending| name.ends_with(ending))
        };
        let name = parents.by_ref().rfind(is_unit)?;
        if !name.ends_with(".service") || name.starts_with('-') {
            return None;
        }
        let user = parents.find_map(|name| {
            name.strip_prefix("user@")?
                .strip_suffix(".service")?
                .parse()
                .ok()
        });
        Some(Self {
            name: name.to_owned(),
            user: user.map(Uid::from_raw),
        })
    }

    /// Whether the manager of this unit is the one that this process can ask.
    pub(super) fn can_be_asked(&self) -> bool {
        self.user.is_none_or(|user| user == geteuid())
    }

    /// A command of systemctl(1) on the unit.
    pub(super) fn command(&self, verb: &str) -> Vec<String> {
        let user = self.user.map(|_| "--user");
        let words = ["systemctl"]
            .into_iter()
            .chain(user)
            .chain([verb, self.name.as_str()]);
        words.map(str::to_owned).collect()
    }

    pub(super) fn facts(&self) -> io::Result<Facts> {
        self.facts_within(PATIENCE)
    }

    pub(super) fn facts_within(&self, limit: Duration) -> io::Result<Facts> {
        let mut show = self.command("show");
        show.push(
            "--property=MainPID,ControlPID,Type,SubState,PIDFile,RemainAfterExit,ControlGroup,KillMode".to_owned(),
        );
        let answer = command::run(&show, limit)?;
        if !answer.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&answer.stderr).trim().to_owned(),
            ));
        }
        let mut facts = Facts::default();
        for line in String::from_utf8_lossy(&answer.stdout).lines() {
            let Some((property, value)) = line.split_once('=') else {
                continue;
            };
            let pid = || value.parse().ok().filter(|&pid| pid > 0).map(Pid::from_raw);
            match property {
                "MainPID" => facts.main_pid = pid(),
                "ControlPID" => facts.control_pid = pid(),
                "Type" => value.clone_into(&mut facts.kind),
                "SubState" => value.clone_into(&mut facts.state),
                "PIDFile" => facts.has_pidfile = !value.is_empty(),
                "ControlGroup" => value.clone_into(&mut facts.group),
                "KillMode" => value.clone_into(&mut facts.kill_mode),
                "RemainAfterExit" => facts.remains_after_exit = value == "yes",
                _ => {}
            }
        }
        Ok(facts)
    }
}

impl Facts {
    /// Whether the unit's stop ends this process, whoever has started it.
    pub(super) fn end(&self, process: Pid) -> bool {
        let is_below = |group: &String| {
            let rest = group.strip_prefix(&self.group);
            !self.group.is_empty()
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        matches!(self.kill_mode.as_str(), "control-group" | "mixed")
            && groups_of(process).iter().any(is_below)
    }
}

/// The control groups of a process in systemd's hierarchy.
fn groups_of(process: Pid) -> Vec<String> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    // 0::/system.slice/x.service, or before version 2 of control groups 1:name=systemd:/…
    let groups = groups
        .lines()
        .filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
    groups
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .map(str::to_owned)
        .collect()
}

/// Whether systemd is the init of this system.
pub(super) fn is_booted() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

#[cfg(test)]
mod tests {
    use super::{Uid, Unit};

    #[test]
    fn a_unit_is_known_by_its_control_group() {
        let unit =
            |path: &str| Unit::in_group(path).map(|unit| (unit.name, unit.user.map(Uid::as_raw)));
        let service = |name: &str, user| Some((name.to_owned(), user));
        assert_eq!(unit("/system.slice/x.service"), service("x.service", None));
        assert_eq!(
            unit("/system.slice/system-x.slice/x@1.service"),
            service("x@1.service", None)
        );
        assert_eq!(
            unit("/system.slice/x.service/workers/7"),
            service("x.service", None)
        );
        assert_eq!(
            unit("/user.slice/user-7.slice/user@7.service/app.slice/x.service"),
            service("x.service", Some(7))
        );
        assert_eq!(
            unit("/user.slice/user-7.slice/user@7.service/app.slice/vte.scope"),
            None
        );
        assert_eq!(unit("/user.slice/user-7.slice/session-1.scope"), None);
        assert_eq!(unit("/system.slice"), None);
        assert_eq!(unit("/"), None);
        assert_eq!(unit("/system.slice/-x.service"), None);
    }
}
