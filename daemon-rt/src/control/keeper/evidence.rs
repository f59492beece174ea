//! Who runs a process. Nothing is believed but what a manager itself says of the process, or that
//! it is its child.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Pid, geteuid, getpid};

use super::systemd::{self, Unit};
use super::{Caller, Keeper, Remedy, command};
use crate::control::lookup::stays_in_foreground;
use crate::manager::supervisor::{self, Supervisor};
use crate::sys::proc;

/// How long a supervisor may take to say what it runs.
const ANSWER: Duration = Duration::from_secs(10);
/// What OpenRC keeps of the services that it has started.
const OPENRC: &str = "/run/openrc";

/// A process and whom it belongs to.
#[derive(Clone, Copy)]
struct Process {
    pid: Pid,
    parent: Pid,
    session: i32,
}

impl Process {
    fn of(pid: Pid) -> Option<Self> {
        let parent = Pid::from_raw(proc::field(pid, 1)?.parse().ok()?);
        let session = proc::field(pid, 3)?.parse().ok()?;
        Some(Self {
            pid,
            parent,
            session,
        })
    }

    /// Whether it is PID 1 of a pid namespace, and runs the same program as its child: this
    /// library's PID 1.
    fn is_shim_of(self, child: Pid) -> bool {
        let program = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        proc::innermost(self.pid) == Some(Pid::from_raw(1))
            && program(self.pid).is_some_and(|own| program(child) == Some(own))
    }

    /// Whether it is root's or the caller's.
    fn is_trusted(self) -> bool {
        let owner = std::fs::metadata(format!("/proc/{}", self.pid)).map(|process| process.uid());
        owner.is_ok_and(|owner| owner == 0 || owner == geteuid().as_raw())
    }

    fn directory(self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/cwd", self.pid)).ok()
    }
}

impl Keeper {
    /// The manager that runs a service, by the service's process and its pidfile.
    ///
    /// # Errors
    /// If a manager that may run it does not say so.
    pub(crate) fn of(pid: Pid, pidfile: &Path) -> io::Result<Option<Self>> {
        let Some(service) = Process::of(pid) else {
            return Ok(None);
        };
        let parent = Process::of(service.parent);
        if let Some(keeper) = systemd(service, parent)? {
            return Ok(Some(keeper));
        }
        if let Some(keeper) = openrc(pidfile) {
            return Ok(Some(keeper));
        }
        let Some(parent) = parent else {
            return Ok(None);
        };
        if let Some(supervisor) = Supervisor::of(parent.pid, service.pid) {
            return supervised(supervisor, service, parent);
        }
        if let Some(keeper) = pid_1(service, parent) {
            return Ok(Some(keeper));
        }
        if stays_in_foreground(pidfile) {
            wrapped(service, parent)
        } else {
            Ok(None)
        }
    }

    fn new(manager: &'static str, service: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            manager,
            service: service.into(),
            remedy,
            caller: Caller::Anyone,
        }
    }
}

fn commands(restart: &[&str], stop: &[&str]) -> Remedy {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Remedy::Commands {
        restart: words(restart),
        stop: words(stop),
    }
}

fn systemd(service: Process, parent: Option<Process>) -> io::Result<Option<Keeper>> {
    if !systemd::is_booted() {
        return Ok(None);
    }
    let Some(unit) = Unit::of(service.pid) else {
        return Ok(None);
    };
    if let Some(user) = unit.user.filter(|_| !unit.can_be_asked()) {
        let is_systemd =
            supervisor::comm(service.parent, &mut [0; 16]).is_some_and(|name| name == b"systemd");
        let words = format!(
            "as user {user} say `systemctl --user restart {0}`, or stop",
            unit.name
        );
        return Ok(is_systemd.then(|| Keeper::new("systemd", unit.name, Remedy::ByHand(words))));
    }
    let facts = match unit.facts() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        facts => facts?,
    };
    let is_inside = Unit::of(getpid()) == Some(unit.clone());
    let main = facts.main_pid;
    let parent = parent.filter(|parent| Some(parent.pid) == main);
    if main == Some(service.pid) || parent.is_some_and(|parent| parent.is_shim_of(service.pid)) {
        let remedy = Remedy::Commands {
            restart: unit.command("restart"),
            stop: unit.command("stop"),
        };
        let caller = match is_inside {
            true if facts.kind == "forking" && facts.has_pidfile => Caller::ManagerThatFollows,
            true => Caller::Manager,
            false => Caller::Anyone,
        };
        return Ok(Some(Keeper {
            caller,
            ..Keeper::new("systemd", unit.name, remedy)
        }));
    }
    // To restart the unit may be more than was asked for.
    let words = if let Some(shell) = parent.filter(|parent| parent.session == service.session) {
        format!("its main process is {}, which started this one", shell.pid)
    } else if !is_inside && facts.end(service.pid) {
        "it is in that unit's control group, and ends with it".to_owned()
    } else {
        return Ok(None);
    };
    let words = format!("{words}: say `{}`", unit.command("restart").join(" "));
    Ok(Some(Keeper::new(
        "systemd",
        unit.name,
        Remedy::RestartByHand(words),
    )))
}

/// The service whose traditional daemon OpenRC finds by this pidfile.
fn openrc(pidfile: &Path) -> Option<Keeper> {
    let pidfile = pidfile.canonicalize().ok()?;
    let name = openrc_service_with("pidfile", |named| {
        Path::new(named)
            .canonicalize()
            .is_ok_and(|named| named == pidfile)
    })?;
    let is_started = Path::new(OPENRC).join("started").join(&name).exists();
    is_started.then(|| openrc_service(&name, Caller::ManagerThatFollows))
}

/// The service of which OpenRC keeps a value that `is_it` knows.
fn openrc_service_with(key: &str, is_it: impl Fn(&str) -> bool) -> Option<String> {
    let mut services = std::fs::read_dir(Path::new(OPENRC).join("options"))
        .ok()?
        .flatten();
    let service = services.find(|options| {
        let value = std::fs::read_to_string(options.path().join(key));
        value.is_ok_and(|value| is_it(value.trim()))
    })?;
    service.file_name().into_string().ok()
}

fn openrc_service(name: &str, inside: Caller) -> Keeper {
    let remedy = commands(
        &["rc-service", name, "restart"],
        &["rc-service", name, "stop"],
    );
    // Set for what a service's script runs.
    let is_inside = std::env::var_os("RC_SVCNAME").is_some_and(|service| service == name);
    Keeper {
        caller: if is_inside { inside } else { Caller::Anyone },
        ..Keeper::new("OpenRC", name, remedy)
    }
}

/// What a supervisor runs as its child.
fn supervised(
    supervisor: Supervisor,
    service: Process,
    parent: Process,
) -> io::Result<Option<Keeper>> {
    // What it says of itself (its name, its directory, its arguments) decides what is run here.
    if !parent.is_trusted() {
        return Ok(None);
    }
    let keeper = match supervisor {
        Supervisor::Runit => runit(service.pid, parent),
        Supervisor::S6 => parent.directory().and_then(|directory| s6(&directory)),
        Supervisor::Daemontools => parent
            .directory()
            .and_then(|directory| daemontools(parent.pid, &directory)),
        Supervisor::OpenRc => supervise_daemon(service.pid),
        Supervisor::Supervisord => Some(supervisord(service.pid, parent.pid)?),
        Supervisor::Dinit => Some(dinit(service.pid)?),
        Supervisor::Shim => pid_1(service, parent),
        Supervisor::Runtime => Some(Keeper::new(
            "a container's runtime",
            format!("pid {}", parent.pid),
            Remedy::RestartByHand(
                "it ends the container with it: restart the container".to_owned(),
            ),
        )),
        Supervisor::Other(name) => {
            let words = "it starts it again when it ends: restart or stop it there".to_owned();
            Some(Keeper::new(
                name,
                format!("pid {}", parent.pid),
                Remedy::ByHand(words),
            ))
        }
    };
    // These wait for what they run beside the service: `finish`, `control/t`.
    let waits = matches!(
        supervisor,
        Supervisor::Runit | Supervisor::S6 | Supervisor::Daemontools
    );
    let caller = if waits && descends_from(parent.pid) {
        Caller::Manager
    } else {
        Caller::Anyone
    };
    Ok(keeper.map(|keeper| Keeper {
        caller: if waits { caller } else { keeper.caller },
        ..keeper
    }))
}

/// What a supervisor runs by a script that stays the parent of the service. The supervisor knows
/// the script alone.
fn wrapped(service: Process, parent: Process) -> io::Result<Option<Keeper>> {
    /// No script has so many between them.
    const MOST: usize = 4;
    let mut script = parent;
    for _ in 0..MOST {
        if script.session != service.session {
            break;
        }
        let Some(above) = Process::of(script.parent) else {
            break;
        };
        let Some(supervisor) = Supervisor::of(above.pid, script.pid) else {
            script = above;
            continue;
        };
        let Some(mut keeper) = supervised(supervisor, script, above)? else {
            break;
        };
        if let Remedy::Commands { restart, .. } = &keeper.remedy {
            let words = format!(
                "pid {} stands between them: say `exec` in the script that starts the service, and then `{}`",
                parent.pid,
                restart.join(" ")
            );
            keeper.remedy = Remedy::ByHand(words);
        }
        return Ok(Some(keeper));
    }
    Ok(None)
}

/// Whether this process was started by another, or by one that it started, and so on.
fn descends_from(ancestor: Pid) -> bool {
    let ancestors =
        std::iter::successors(Process::of(getpid()), |process| Process::of(process.parent));
    ancestors
        .into_iter()
        .any(|process| process.parent == ancestor)
}

fn runit(service: Pid, runsv: Process) -> Option<Keeper> {
    let directory = runsv.directory()?;
    let is_its = |directory: &Path| {
        let pid = std::fs::read_to_string(directory.join("supervise/pid"));
        pid.is_ok_and(|pid| pid.trim() == service.to_string())
    };
    let directory = [directory.join("log"), directory]
        .into_iter()
        .find(|directory| is_its(directory))?;
    let name = directory.to_str()?;
    Some(Keeper::new(
        "runit",
        name,
        commands(
            &["sv", "-w", "180", "restart", name],
            &["sv", "-w", "180", "stop", name],
        ),
    ))
}

fn s6(directory: &Path) -> Option<Keeper> {
    let name = directory.to_str()?;
    let restart = ["s6-svc", "-wr", "-T", "180000", "-r", name];
    Some(Keeper::new(
        "s6",
        name,
        commands(&restart, &["s6-svc", "-d", name]),
    ))
}

/// The program `svc` is the one beside the supervisor: other programs have that name, too.
fn daemontools(supervise: Pid, directory: &Path) -> Option<Keeper> {
    let svc = std::fs::read_link(format!("/proc/{supervise}/exe"))
        .ok()?
        .with_file_name("svc");
    let (svc, name) = (svc.to_str()?, directory.to_str()?);
    Some(Keeper::new(
        "daemontools",
        name,
        commands(&[svc, "-t", name], &[svc, "-d", name]),
    ))
}

fn supervise_daemon(service: Pid) -> Option<Keeper> {
    let name = openrc_service_with("child_pid", |child| child == service.to_string())?;
    Some(openrc_service(&name, Caller::Manager))
}

fn supervisord(service: Pid, supervisord: Pid) -> io::Result<Keeper> {
    let mut ctl = vec!["supervisorctl".to_owned()];
    if let Some(file) = configuration(&supervisor::arguments(supervisord)) {
        ctl.extend(["-c".to_owned(), file]);
    }
    let with = |words: &[&str]| -> Vec<String> {
        ctl.iter()
            .cloned()
            .chain(words.iter().map(|&word| word.to_owned()))
            .collect()
    };
    // It does not end with 0 if any program is down.
    let answer = answer(&with(&["status"]))?;
    // x:x_00   RUNNING   pid 7, uptime 0:00:03
    let mark = format!(" pid {service},");
    let name = answer
        .lines()
        .find(|line| line.contains(&mark))
        .and_then(|line| line.split_whitespace().next());
    let Some(name) = name else {
        let words = "it does not tell `supervisorctl status`: restart or stop it there".to_owned();
        return Ok(Keeper::new(
            "supervisord",
            format!("pid {supervisord}"),
            Remedy::ByHand(words),
        ));
    };
    let remedy = Remedy::Commands {
        restart: with(&["restart", name]),
        stop: with(&["stop", name]),
    };
    Ok(Keeper::new("supervisord", name, remedy))
}

/// The file that `-c FILE` names. A relative one was meant in a directory that supervisord may have
/// left.
fn configuration(arguments: &[Vec<u8>]) -> Option<String> {
    let words: Vec<&str> = arguments
        .iter()
        .map_while(|word| std::str::from_utf8(word).ok())
        .collect();
    let named = words.iter().enumerate().find_map(|(at, word)| match *word {
        "-c" | "--configuration" => words.get(at + 1).copied(),
        _ => word.strip_prefix("--configuration="),
    });
    named
        .filter(|file| file.starts_with('/'))
        .map(str::to_owned)
}

fn dinit(service: Pid) -> io::Result<Keeper> {
    let answer = answer(&["dinitctl", "list"].map(str::to_owned))?;
    // [{+}     ] x (pid: 7)
    let mark = format!(" (pid: {service})");
    let line = answer
        .lines()
        .find_map(|line| line.split_once(&mark))
        .map(|(before, _)| before);
    let Some((_, name)) = line.and_then(|before| before.rsplit_once("] ")) else {
        let words = "it does not tell `dinitctl list`: restart or stop it there".to_owned();
        return Ok(Keeper::new(
            "dinit",
            format!("pid {service}"),
            Remedy::ByHand(words),
        ));
    };
    Ok(Keeper::new(
        "dinit",
        name,
        commands(&["dinitctl", "restart", name], &["dinitctl", "stop", name]),
    ))
}

/// What a supervisor's command says.
fn answer(words: &[String]) -> io::Result<String> {
    let ended =
        command::run(words, ANSWER).map_err(|error| super::with(&words.join(" "), &error))?;
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// PID 1 of a container, which runs a command and ends with it. What has detached has a session of
/// its own that it does not lead; what PID 1 runs is in PID 1's session, or leads the one that a
/// shim has made for it.
fn pid_1(service: Process, parent: Process) -> Option<Keeper> {
    let is_shim = Supervisor::of(parent.pid, service.pid) == Some(Supervisor::Shim);
    let is_its =
        service.session == parent.session || service.session == service.pid.as_raw() && is_shim;
    let is_init = parent.pid.as_raw() == 1 || parent.is_shim_of(service.pid);
    let words = "the container ends with it: restart the container".to_owned();
    (is_init && is_its).then(|| Keeper::new("PID 1", "its container", Remedy::RestartByHand(words)))
}
