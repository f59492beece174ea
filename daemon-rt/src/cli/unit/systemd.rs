//! systemd: a .service, and a .socket where the service takes sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dropper::Dropper;
use super::file::{ServiceFile, ServiceFiles};
use super::input::{NO_RETRY, Scope, UnitInput, WHY_NO_RETRY, lines, refuse};
use super::prepare::{self, Owner};
use super::quote::{systemd_line, systemd_value};
use super::resources;
use super::sandbox::{self, READ_WRITE_PATHS, created};
use super::sockets::Sockets;
use crate::daemon::Daemon;
use crate::error::Error;

pub(super) fn units(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    if input.executable.contains(['"', '\'', '\\']) {
        let object = format!("the path of the binary {}", input.executable);
        let problem = "systemd cannot execute a path with quotes or backslashes";
        return Err(refuse(object, problem));
    }
    let sockets = Sockets::of(input)?;
    let name = format!("{}{}.service", input.name, input.at(""));
    let mut units = vec![ServiceFile::text(name, service(input, &sockets))];
    for socket in &sockets {
        units.push(ServiceFile::text(
            socket.unit(input, ""),
            socket.text(input),
        ));
    }
    let directory = match input.options.scope {
        Scope::System => "/etc/systemd/system",
        Scope::User => "/etc/systemd/user",
    };
    Ok(ServiceFiles::new(directory, units))
}

fn service(input: &UnitInput<'_>, sockets: &[Sockets]) -> String {
    let dropper = Dropper::of(input);
    let mut unit = vec![format!("Description={}", systemd_value(&input.description))];
    let mut parts = vec![
        start(input, dropper),
        execution(input, dropper),
        resources::systemd(input),
        privileges(input, dropper),
    ];
    let target = match input.options.scope {
        Scope::System => {
            unit.push("After=network.target".to_owned());
            parts.push(sandbox::settings(input, dropper));
            "multi-user.target"
        }
        Scope::User => "default.target",
    };
    let mut install = vec![format!("WantedBy={target}")];
    for socket in sockets {
        let instance = socket.unit(input, "%i");
        unit.push(format!("Requires={instance}"));
        install.push(format!("Also={instance}"));
    }
    parts.retain(|part| !part.is_empty());
    let service: Vec<String> = parts.into_iter().map(lines).collect();
    format!(
        "{}[Unit]\n{}\n[Service]\n{}\n[Install]\n{}",
        lines(notes(input, dropper)),
        lines(unit),
        service.join("\n"),
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
    for (directory, _) in not_made(input, dropper) {
        // Any command of the unit has its output there.
        if !prepare::has_log(input, &directory) {
            continue;
        }
        let path = systemd_value(directory.to_str().unwrap_or_default());
        notes.push(if input.is_simple() {
            format!(
                "# {path} must exist: {name} unit tmpfiles | systemd-tmpfiles --create - makes it."
            )
        } else {
            format!("# {path} must exist.")
        });
    }
    notes
}

/// The directories that systemd does not make for the service, or too late: it opens logs before.
fn not_made(input: &UnitInput<'_>, dropper: Dropper) -> Vec<(PathBuf, Owner)> {
    let mut made = Vec::new();
    if let Some(pidfile) = &input.pidfile {
        made.extend(Path::new(pidfile).parent().map(Path::to_owned));
    }
    if dropper != Dropper::Service {
        made.push(input.data());
        made.extend(input.state());
    }
    made.retain(|directory| created(directory).0 != READ_WRITE_PATHS);
    let mut missing = prepare::directories(input);
    missing.retain(|(directory, _)| !made.contains(directory));
    missing
}

/// Makes what systemd does not, with all of root's power and outside of the sandbox.
fn preparation(input: &UnitInput<'_>, dropper: Dropper) -> Option<String> {
    let mut missing = not_made(input, dropper);
    missing.retain(|(directory, _)| !prepare::has_log(input, directory));
    let commands = prepare::make(input, &missing);
    if commands.is_empty() {
        return None;
    }
    let script = format!("umask 022; {}", commands.join("; "));
    let line = systemd_line(&["/bin/sh", "-c", &script]);
    Some(match input.options.scope {
        Scope::System => format!("ExecStartPre=+{line}"),
        Scope::User => format!("ExecStartPre={line}"),
    })
}

/// Start, reload, restart.
///
/// `Type=notify-reload` would be the right type, but a systemd before 253 takes it for `simple`,
/// and readiness is lost. No `PIDFile=` either: it would tell the service to detach.
fn start(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut lines = vec!["Type=notify".to_owned()];
    lines.extend(preparation(input, dropper));
    lines.push(format!("ExecStart={}", systemd_line(&input.command("run"))));
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
fn execution(input: &UnitInput<'_>, dropper: Dropper) -> Vec<String> {
    let mut lines = Vec::new();
    if input.options.scope == Scope::System {
        lines.push(format!("EnvironmentFile=-{}", input.environment_file()));
    }
    if input.directory_outside_chroot() != "/" {
        let directory = systemd_value(&input.directory);
        // ExecStartPre= begins without it.
        let optional = match preparation(input, dropper) {
            Some(_) => "-",
            None => "",
        };
        lines.push(format!("WorkingDirectory={optional}{directory}"));
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
    if input.daemon.runtime_directory || input.daemon.state_directory {
        needed.push("CAP_CHOWN");
    }
    needed.extend(input.daemon.capabilities.iter().map(String::as_str));
    needed
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
