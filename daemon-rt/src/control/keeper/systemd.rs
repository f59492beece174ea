//! Services of systemd, by what systemd itself says of them. The name of a control group alone says
//! little: all that a shell or cron starts below a service is in that service's group.

use std::io;
use std::time::Duration;

use nix::unistd::{Pid, Uid, geteuid, getpid};

use super::command;
use super::remedy::{Caller, Keeper, Remedy};
use crate::control::process::{Process, groups_of, is_in_group};
use crate::manager::supervisor;

/// Time limit for an answer of systemd, which answers while it starts or stops a service, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A unit, by the control group of a process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The user whose own systemd has the unit; `None` for the system's.
    user: Option<Uid>,
}

/// Properties of a unit, as systemd shows them.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) main_pid: Option<Pid>,
    /// The process of `ExecStartPre=`, `ExecReload=` and the like, and of `ExecStart=` with
    /// `Type=forking`.
    pub(super) control_pid: Option<Pid>,
    pub(super) kind: String,
    pub(super) state: String,
    has_pidfile: bool,
    pub(super) remains_after_exit: bool,
    /// The path of its control group, if it has one.
    group: String,
    kill_mode: String,
}

/// Finds the unit that runs a service.
pub(super) fn find_keeper(service: Process, parent: Option<Process>) -> io::Result<Option<Keeper>> {
    if !is_booted() {
        return Ok(None);
    }
    let Some(unit) = Unit::of(service.pid) else {
        return Ok(None);
    };
    if let Some(user) = unit.user {
        if user != geteuid() {
            return Ok(keeper_of_user(&unit, user, service));
        }
    }
    match unit.properties(PATIENCE) {
        Ok(properties) => Ok(keeper(unit, &properties, service, parent)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn keeper(
    unit: Unit,
    properties: &Properties,
    service: Process,
    parent: Option<Process>,
) -> Option<Keeper> {
    let caller = caller(&unit, properties);
    let main = match parent {
        Some(parent) if Some(parent.pid) == properties.main_pid => Some(parent),
        _ => None,
    };
    let is_main = match main {
        Some(main) => main.is_pid_1_of(service.pid),
        None => properties.main_pid == Some(service.pid),
    };
    if is_main {
        return Some(keeper_of_main(unit, caller, properties));
    }
    // To restart the unit may be more than was asked for.
    let why = match main {
        Some(main) if main.session == service.session => {
            format!(
                "its main process is pid {}, which has started this one",
                main.pid
            )
        }
        _ if caller == Caller::Anyone && properties.ends(service.pid) => {
            "it is in that unit's control group, and ends with it".to_owned()
        }
        _ => return None,
    };
    let advice = format!("{why}: run `{}`", unit.command("restart").join(" "));
    let remedy = Remedy::RestartByHand(advice);
    Some(Keeper::new("systemd", unit.name, remedy))
}

/// A unit of another user's systemd, which does not answer this one.
fn keeper_of_user(unit: &Unit, user: Uid, service: Process) -> Option<Keeper> {
    if supervisor::comm(service.parent, &mut [0; 16])? != b"systemd" {
        return None;
    }
    let name = &unit.name;
    let advice = format!("run `systemctl --user restart {name}` (or stop) as user {user}");
    Some(Keeper::new("systemd", name, Remedy::ByHand(advice)))
}

/// The unit is restarted and stopped by systemctl(1).
fn keeper_of_main(unit: Unit, caller: Caller, properties: &Properties) -> Keeper {
    let remedy = Remedy::Commands {
        restart: unit.command("restart"),
        stop: unit.command("stop"),
    };
    Keeper {
        caller,
        groups: vec![properties.group.clone()],
        command: properties.control_pid,
        ..Keeper::new("systemd", unit.name, remedy)
    }
}

/// The caller is the unit if this process is in it.
fn caller(unit: &Unit, properties: &Properties) -> Caller {
    if Unit::of(getpid()).as_ref() != Some(unit) {
        Caller::Anyone
    } else if properties.kind == "forking" && properties.has_pidfile {
        Caller::ManagerThatFollows
    } else {
        Caller::Manager
    }
}

/// Returns the arguments with which journalctl(1) shows the messages of the unit of a process.
#[cfg(feature = "cli")]
pub(crate) fn in_journal(process: Pid) -> Vec<String> {
    match Unit::of(process) {
        Some(Unit { name, user: None }) => vec![format!("--unit={name}")],
        Some(Unit {
            name,
            user: Some(user),
        }) => vec![format!("_SYSTEMD_USER_UNIT={name}"), format!("_UID={user}")],
        None => vec![format!("_PID={process}")],
    }
}

impl Unit {
    /// The service in whose control group a process is; `None` in a scope, as of a login.
    pub(super) fn of(process: Pid) -> Option<Self> {
        groups_of(process)
            .iter()
            .find_map(|group| Self::in_group(group))
    }

    fn in_group(path: &str) -> Option<Self> {
        let mut parents = path.split('/');
        // The service may have made groups below the unit's own.
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

    /// A command of systemctl(1) on the unit.
    pub(super) fn command(&self, verb: &str) -> Vec<String> {
        let mut words = vec!["systemctl"];
        if self.user.is_some() {
            words.push("--user");
        }
        words.extend([verb, &self.name]);
        words.into_iter().map(str::to_owned).collect()
    }

    /// Asks systemd for the properties of the unit.
    pub(super) fn properties(&self, patience: Duration) -> io::Result<Properties> {
        let mut show = self.command("show");
        show.push(
            "--property=MainPID,ControlPID,Type,SubState,PIDFile,RemainAfterExit,ControlGroup,KillMode".to_owned(),
        );
        let answer = command::run(&show, patience)?;
        if !answer.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&answer.stderr).trim().to_owned(),
            ));
        }
        Ok(Properties::read(&String::from_utf8_lossy(&answer.stdout)))
    }
}

impl Properties {
    fn read(text: &str) -> Self {
        let mut properties = Self::default();
        for line in text.lines() {
            let Some((property, value)) = line.split_once('=') else {
                continue;
            };
            match property {
                "MainPID" => properties.main_pid = read_pid(value),
                "ControlPID" => properties.control_pid = read_pid(value),
                "Type" => value.clone_into(&mut properties.kind),
                "SubState" => value.clone_into(&mut properties.state),
                "PIDFile" => properties.has_pidfile = !value.is_empty(),
                "ControlGroup" => value.clone_into(&mut properties.group),
                "KillMode" => value.clone_into(&mut properties.kill_mode),
                "RemainAfterExit" => properties.remains_after_exit = value == "yes",
                _ => {}
            }
        }
        properties
    }

    /// Checks whether to stop the unit ends this process, too.
    fn ends(&self, process: Pid) -> bool {
        matches!(self.kill_mode.as_str(), "control-group" | "mixed")
            && is_in_group(process, std::slice::from_ref(&self.group))
    }
}

/// A pid as systemd shows it: 0 is none.
fn read_pid(value: &str) -> Option<Pid> {
    match value.parse() {
        Ok(pid) if pid > 0 => Some(Pid::from_raw(pid)),
        _ => None,
    }
}

/// Checks whether systemd is the init of this system.
fn is_booted() -> bool {
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
