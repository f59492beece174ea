//! systemd: a .service, and a .socket where the service takes sockets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{ServiceFile, ServiceFiles};
use super::hardening::{BEYOND_SYSTEM_SERVICE, HARDENING};
use super::input::{NO_RETRY, UnitInput, WHY_NO_RETRY, lines, refuse};
use super::prepare::directories;
use super::quote::{systemd_line, systemd_value, systemd_word};
use super::resources;
use crate::daemon::{Daemon, Place};
use crate::error::Error;

/// Who gives up root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dropper {
    /// systemd, before it executes the service.
    Manager,
    /// The service, as under every other manager.
    Service,
    /// Neither: the service stays root.
    Neither,
}

pub(super) fn units(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    if input.executable.contains(['"', '\'', '\\']) {
        let object = format!("the path of the binary {}", input.executable);
        let problem = "systemd cannot execute a path with quotes or backslashes";
        return Err(refuse(object, problem));
    }
    let name = &input.name;
    let mut units = vec![ServiceFile::text(format!("{name}.service"), service(input))];
    if !input.options.arguments.listen.is_empty() {
        units.push(ServiceFile::text(format!("{name}.socket"), socket(input)));
    }
    Ok(ServiceFiles::new("/etc/systemd/system", units))
}

fn service(input: &UnitInput<'_>) -> String {
    let dropper = Dropper::of(input);
    let mut unit = vec![
        format!("Description={}", systemd_value(&input.description)),
        "After=network.target".to_owned(),
    ];
    let mut install = vec!["WantedBy=multi-user.target".to_owned()];
    if !input.options.arguments.listen.is_empty() {
        unit.push(format!("Requires={}.socket", input.name));
        install.push(format!("Also={}.socket", input.name));
    }
    let mut service = lines(start(input, dropper));
    for part in [
        execution(input),
        resources::systemd(input),
        privileges(input, dropper),
        sandbox(input, dropper),
    ] {
        if !part.is_empty() {
            service.push('\n');
            service += &lines(part);
        }
    }
    format!(
        "{}[Unit]\n{}\n[Service]\n{service}\n[Install]\n{}",
        lines(notes(input, dropper)),
        lines(unit),
        lines(install)
    )
}

/// What the unit cannot make itself.
fn notes(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut notes = input.comments("# ");
    let name = &input.name;
    if input.own_user().is_some() {
        notes.push(format!(
            "# {name} unit sysusers | systemd-sysusers - makes it."
        ));
    }
    let made = made_by_unit(input, dropper);
    for (directory, _) in directories(input) {
        if !made.contains(&directory) {
            notes.push(format!(
                "# {} must exist: {name} unit tmpfiles | systemd-tmpfiles --create - makes it.",
                directory.display()
            ));
        }
    }
    notes
}

/// The directories that systemd makes for the service. Those of logs come too late: it has opened
/// the files by then.
fn made_by_unit(input: &UnitInput<'_>, dropper: Dropper) -> Vec<PathBuf> {
    let mut made = Vec::new();
    if let Some(pidfile) = &input.pidfile {
        made.extend(Path::new(pidfile).parent().map(Path::to_owned));
    }
    if dropper != Dropper::Service {
        made.push(input.data());
    }
    made.retain(|directory| created(directory).0 != READ_WRITE_PATHS);
    made
}

fn socket(input: &UnitInput<'_>) -> String {
    let addresses = input
        .options
        .arguments
        .listen
        .iter()
        .map(|address| format!("ListenStream={}", systemd_value(address)));
    format!(
        "[Unit]\nDescription=Sockets of {}\n\n[Socket]\n{}\n[Install]\nWantedBy=sockets.target\n",
        systemd_value(&input.description),
        lines(addresses)
    )
}

/// Start, reload, restart.
///
/// `Type=notify-reload` would be the right type, but a systemd before 253 takes it for `simple`,
/// and readiness is lost. No `PIDFile=` either: it would tell the service to detach.
fn start(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut lines = vec![
        "Type=notify".to_owned(),
        format!("ExecStart={}", systemd_line(&input.command("run"))),
    ];
    if input.daemon.reloads {
        // The command returns when the service has reloaded; without a pidfile it cannot find the
        // service.
        let reload = if input.pidfile.is_some() {
            systemd_line(&input.command("reload"))
        } else {
            let check = systemd_line(&input.command("check"));
            lines.push(format!("ExecReload={check}"));
            "/bin/kill -HUP $MAINPID".to_owned()
        };
        // With all of root's power: what is left of it below must not signal another user's
        // process.
        let power = match dropper {
            Dropper::Service => "+",
            Dropper::Manager | Dropper::Neither => "",
        };
        lines.push(format!("ExecReload={power}{reload}"));
    }
    if let Some(limit) = input.daemon.start_timeout {
        lines.push(format!("TimeoutStartSec={}", time(limit)));
    }
    if let Some(seconds) = input.kill_after() {
        lines.push(format!(
            "TimeoutStopSec={}",
            time(Duration::from_secs(seconds))
        ));
    }
    if let Some(limit) = input.daemon.watchdog {
        lines.push(format!("WatchdogSec={}", time(limit)));
    }
    lines
        .push("# For what the service keeps there from one run to the next (store_fd).".to_owned());
    lines.push("FileDescriptorStoreMax=512".to_owned());
    lines.push("Restart=on-failure".to_owned());
    lines.push(format!("# {WHY_NO_RETRY}"));
    let statuses = NO_RETRY.map(|status| status.to_string()).join(" ");
    lines.push(format!("RestartPreventExitStatus={statuses}"));
    lines
}

/// The environment that the service leaves to its manager. Streams that are not set go to the
/// journal.
fn execution(input: &UnitInput<'_>) -> Vec<String> {
    let mut lines = vec![format!("EnvironmentFile=-{}", input.environment_file())];
    if input.directory_outside_chroot() != "/" {
        let directory = systemd_value(&input.directory);
        lines.push(format!("WorkingDirectory={directory}"));
    }
    if let Some(mask) = input.umask() {
        lines.push(format!("UMask={mask}"));
    }
    if let Some(path) = &input.stdout {
        lines.push(format!("StandardOutput=append:{}", systemd_value(path)));
    }
    if let Some(path) = &input.stderr {
        lines.push(format!("StandardError=append:{}", systemd_value(path)));
    } else if input.stdout.is_some() {
        // By default it goes where standard output goes.
        lines.push("StandardError=journal".to_owned());
    }
    lines
}

impl Dropper {
    fn of(input: &UnitInput<'_>) -> Self {
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

fn privileges(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut lines = match dropper {
        Dropper::Manager => dropped_by_manager(input.daemon),
        Dropper::Service => dropped_by_service(input),
        Dropper::Neither => Vec::new(),
    };
    let no_new_privs = match input.daemon.no_new_privs {
        Some(on) => on,
        None => dropper != Dropper::Neither,
    };
    if no_new_privs {
        lines.push("NoNewPrivileges=yes".to_owned());
    }
    lines
}

fn dropped_by_manager(daemon: &Daemon) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(user) = &daemon.user {
        lines.push(format!("User={user}"));
    }
    if let Some(group) = &daemon.group {
        lines.push(format!("Group={group}"));
    }
    let kept = daemon.capabilities.join(" ");
    lines.push(format!("CapabilityBoundingSet={kept}"));
    if !kept.is_empty() {
        lines.push(format!("AmbientCapabilities={kept}"));
    }
    lines
}

fn dropped_by_service(input: &UnitInput<'_>) -> Vec<String> {
    let Some(user) = &input.daemon.user else {
        return Vec::new();
    };
    if input.daemon.no_new_privs == Some(false) {
        // A bound would hold for the children, too, which may gain more by a set-user-id program.
        return Vec::new();
    }
    let user = systemd_value(&user.to_string());
    let mut lines = vec![format!("# Started as root, it becomes {user} by itself.")];
    let bound = format!("CapabilityBoundingSet={}", needed_to_drop(input).join(" "));
    if input.options.privileged_init {
        lines.push("# Add what privileged_init needs, and uncomment:".to_owned());
        lines.push(format!("#{bound}"));
    } else {
        lines.push(bound);
    }
    lines
}

/// The capabilities that it takes to become another user, and those that are kept.
fn needed_to_drop<'a>(input: &'a UnitInput<'_>) -> Vec<&'a str> {
    let mut needed = vec!["CAP_SETGID", "CAP_SETUID"];
    // A directory may be closed to all but the user who owns it.
    if input.directory != "/" || input.chroot.is_some() {
        needed.push("CAP_DAC_READ_SEARCH");
    }
    if input.chroot.is_some() {
        needed.push("CAP_SYS_CHROOT");
    }
    if input.daemon.runtime_directory {
        needed.push("CAP_CHOWN");
    }
    needed.extend(input.daemon.capabilities.iter().map(String::as_str));
    needed
}

fn sandbox(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let used = used_paths(input);
    let is_used = |places: &[&str]| {
        let is_below = |path: &&Path| places.iter().any(|place| path.starts_with(place));
        used.iter().any(is_below)
    };
    let mut lines = vec![
        "# It can write here, and nowhere else: add what it needs to ReadWritePaths=.".to_owned(),
        "ProtectSystem=strict".to_owned(),
    ];
    lines.extend(writable(input, dropper));
    let home = if is_used(&["/home", "/root", "/run/user"]) {
        "read-only"
    } else {
        "yes"
    };
    lines.push(format!("ProtectHome={home}"));
    if !is_used(&["/tmp", "/var/tmp"]) {
        lines.push("PrivateTmp=yes".to_owned());
    }
    lines.extend(restrictions(input, dropper));
    lines
}

/// The restrictions under which the service can still use its capabilities.
fn restrictions(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let kept = &input.daemon.capabilities;
    // A service that stays root has every capability, and a reason for it that is not among the
    // settings.
    let has = |capability: &&str| {
        dropper == Dropper::Neither || kept.iter().any(|kept| kept == capability)
    };
    let mut lines = Vec::new();
    for (restriction, capabilities) in HARDENING {
        if !capabilities.iter().any(has) {
            lines.push(restriction.to_owned());
        }
    }
    if !BEYOND_SYSTEM_SERVICE.iter().any(has) {
        let chroot = match input.chroot {
            Some(_) => " chroot",
            None => "",
        };
        lines.push(format!("SystemCallFilter=@system-service{chroot}"));
    }
    lines
}

/// The paths that the sandbox must not hide.
fn used_paths<'a>(input: &'a UnitInput<'_>) -> Vec<&'a Path> {
    let mut paths = vec![Path::new(&input.executable), Path::new(&input.directory)];
    paths.extend(input.chroot.as_ref().map(Path::new));
    paths.extend(input.pidfile.as_ref().map(Path::new));
    paths
}

/// The directories that the service writes, as far as its settings tell: those of pidfile, data and
/// logs.
fn writable(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |(setting, value): (&'static str, &str)| {
        let value = systemd_word(value);
        let list = values.entry(setting).or_default();
        if !list.contains(&value) {
            list.push(value);
        }
    };
    if input.daemon.runtime_directory {
        match (&input.daemon.pidfile, dropper) {
            // The service makes it: RUNTIME_DIRECTORY would move the pidfile from its usual place.
            (Some(Place::Usual), Dropper::Service | Dropper::Neither) => {
                add(existing(Path::new("/run")));
            }
            // The first, which is the one that the service gets.
            _ => add((RUNTIME_DIRECTORY, &input.name)),
        }
    }
    let pidfile = input.pidfile.as_ref().map(Path::new);
    if let Some(directory) = pidfile.and_then(Path::parent) {
        add(created(directory));
    }
    for log in [&input.stdout, &input.stderr].into_iter().flatten() {
        match Path::new(log).parent() {
            // It opens a rotated log again.
            Some(directory) if input.daemon.reloads => add(created(directory)),
            _ => {}
        }
    }
    let data = input.data();
    if data != Path::new("/") {
        match dropper {
            // systemd would create it for root, as whom it starts the service.
            Dropper::Service => add(existing(&data)),
            Dropper::Manager | Dropper::Neither => add(created(&data)),
        }
    }
    let mut lines = Vec::new();
    for (setting, values) in &values {
        lines.push(format!("{setting}={}", values.join(" ")));
    }
    if pidfile.is_some() && values.contains_key(RUNTIME_DIRECTORY) {
        // A start that finds another instance running must not take that one's pidfile away.
        lines.push("RuntimeDirectoryPreserve=yes".to_owned());
    }
    lines
}

const READ_WRITE_PATHS: &str = "ReadWritePaths";
const RUNTIME_DIRECTORY: &str = "RuntimeDirectory";

/// The setting that makes a directory writable, and its value: systemd creates the directory if
/// that can be.
fn created(path: &Path) -> (&'static str, &str) {
    const PLACES: [(&str, &str); 4] = [
        ("/run", RUNTIME_DIRECTORY),
        ("/var/lib", "StateDirectory"),
        ("/var/cache", "CacheDirectory"),
        ("/var/log", "LogsDirectory"),
    ];
    for (place, setting) in PLACES {
        let Ok(name) = path.strip_prefix(place) else {
            continue;
        };
        match name.to_str() {
            // A colon would begin the name of a symbolic link.
            Some(name) if !name.is_empty() && !name.contains([':', ' ']) => return (setting, name),
            _ => {}
        }
    }
    existing(path)
}

/// The same for a directory that must be there.
fn existing(path: &Path) -> (&'static str, &str) {
    (READ_WRITE_PATHS, path.to_str().unwrap_or_default())
}

fn time(limit: Duration) -> String {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    if limit > YEAR {
        "infinity".to_owned()
    } else if limit.subsec_millis() == 0 {
        format!("{}s", limit.as_secs())
    } else {
        format!("{}ms", limit.as_millis())
    }
}
