//! systemd: a .service, and a .socket where the service takes sockets, as `systemctl cat` would
//! show them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::quote::{systemd_line, systemd_value, systemd_word};
use super::{Sheet, lines, refuse};
use crate::daemon::NameOrId;
use crate::error::Error;

/// Who gives up root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drop {
    /// systemd, before it executes the service.
    Manager,
    /// The service, as everywhere.
    Service,
    /// Nobody: the service stays root.
    Nobody,
}

/// What a daemon can be denied, and the capabilities for whose sake it must not be.
const HARDENING: [(&str, &[&str]); 14] = [
    ("LockPersonality=yes", &[]),
    (
        "PrivateDevices=yes",
        &["CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN"],
    ),
    ("ProtectClock=yes", &["CAP_SYS_TIME", "CAP_WAKE_ALARM"]),
    ("ProtectControlGroups=yes", &["CAP_SYS_ADMIN"]),
    ("ProtectHostname=yes", &["CAP_SYS_ADMIN"]),
    ("ProtectKernelLogs=yes", &["CAP_SYSLOG"]),
    ("ProtectKernelModules=yes", &["CAP_SYS_MODULE"]),
    (
        "ProtectKernelTunables=yes",
        &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"],
    ),
    // Name look-ups ask the kernel for its addresses over netlink.
    (
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        &["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"],
    ),
    ("RestrictNamespaces=yes", &["CAP_SYS_ADMIN"]),
    ("RestrictRealtime=yes", &["CAP_SYS_NICE"]),
    ("RestrictSUIDSGID=yes", &["CAP_FSETID"]),
    ("SystemCallArchitectures=native", &[]),
    ("SystemCallErrorNumber=EPERM", &[]),
];

/// The capabilities whose system calls are not among those of ordinary services.
const BEYOND_SYSTEM_SERVICE: [&str; 11] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_SYSLOG",
];

pub(super) fn unit(sheet: &Sheet<'_>) -> Result<String, Error> {
    if sheet.executable.contains(['"', '\'', '\\']) {
        let problem = "systemd executes nothing with quotes or backslashes in its path";
        return Err(refuse(
            format!("the path of the binary {}", sheet.executable),
            problem,
        ));
    }
    let service = format!(
        "# /etc/systemd/system/{}.service\n{}",
        sheet.name,
        service(sheet)
    );
    if sheet.facts.sockets.is_empty() {
        return Ok(service);
    }
    Ok(format!(
        "{service}\n# /etc/systemd/system/{}.socket\n{}",
        sheet.name,
        socket(sheet)
    ))
}

fn service(sheet: &Sheet<'_>) -> String {
    let drop = Drop::of(sheet);
    let mut unit = vec![
        format!("Description={}", systemd_value(&sheet.description)),
        "After=network.target".into(),
    ];
    let mut install = vec!["WantedBy=multi-user.target".to_owned()];
    if !sheet.facts.sockets.is_empty() {
        unit.push(format!("Requires={}.socket", sheet.name));
        install.push(format!("Also={}.socket", sheet.name));
    }
    let service = [
        start(sheet, drop),
        surroundings(sheet),
        privileges(sheet, drop),
        sandbox(sheet, drop),
    ];
    let service = service
        .map(lines)
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    format!(
        "[Unit]\n{}\n[Service]\n{service}\n[Install]\n{}",
        lines(unit),
        lines(install)
    )
}

fn socket(sheet: &Sheet<'_>) -> String {
    let addresses = sheet
        .facts
        .sockets
        .iter()
        .map(|address| format!("ListenStream={}", systemd_value(address)));
    format!(
        "[Unit]\nDescription=Sockets of {}\n\n[Socket]\n{}\n[Install]\nWantedBy=sockets.target\n",
        systemd_value(&sheet.description),
        lines(addresses)
    )
}

/// Start, reload, restart.
///
/// `Type=notify-reload` would be the right type, but a systemd before 253 takes it for `simple`,
/// and readiness is lost. No `PIDFile=` either: it would tell the service to detach.
fn start(sheet: &Sheet<'_>, drop: Drop) -> Vec<String> {
    let mut lines = vec![
        "Type=notify".to_owned(),
        format!("ExecStart={}", systemd_line(&sheet.command("run"))),
    ];
    if sheet.facts.reloads {
        // The command returns when the service has reloaded; without a pidfile it cannot find the
        // service.
        let reload = match sheet.pidfile {
            Some(_) => systemd_line(&sheet.command("reload")),
            None => "/bin/kill -HUP $MAINPID".to_owned(),
        };
        // With all of root's power: what is left of it below may signal no other user's process.
        let power = if drop == Drop::Service { "+" } else { "" };
        lines.push(format!("ExecReload={power}{reload}"));
    }
    lines.extend(
        sheet
            .daemon
            .start_timeout
            .map(|limit| format!("TimeoutStartSec={}", time(limit))),
    );
    lines.push("Restart=on-failure".to_owned());
    lines.push("# A wrong setting, another instance: it would only fail again.".to_owned());
    lines.push("RestartPreventExitStatus=2 80".to_owned());
    lines
}

/// What the service leaves to its manager. The journal takes what nothing else is said of.
fn surroundings(sheet: &Sheet<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if sheet.directory_outside_chroot() != "/" {
        lines.push(format!(
            "WorkingDirectory={}",
            systemd_value(&sheet.directory)
        ));
    }
    lines.extend(sheet.umask().map(|mask| format!("UMask={mask}")));
    let append = |path: &String| format!("append:{}", systemd_value(path));
    lines.extend(
        sheet
            .stdout
            .as_ref()
            .map(|path| format!("StandardOutput={}", append(path))),
    );
    // By default it goes where standard output goes.
    let error = sheet
        .stderr
        .as_ref()
        .map(append)
        .or_else(|| sheet.stdout.is_some().then(|| "journal".to_owned()));
    lines.extend(error.map(|target| format!("StandardError={target}")));
    lines
}

impl Drop {
    fn of(sheet: &Sheet<'_>) -> Self {
        let daemon = sheet.daemon;
        if !daemon.user.as_ref().is_some_and(is_ordinary) {
            return Self::Nobody;
        }
        let needs_root = sheet.facts.privileged_init
            || sheet.pidfile.is_some()
            || sheet.chroot.is_some()
            || daemon.groups.is_some() // systemd only adds to the user's own
            || daemon.no_new_privs == Some(false); // systemd sets it with nearly all of the sandbox, unless as root
        if needs_root {
            Self::Service
        } else {
            Self::Manager
        }
    }
}

fn is_ordinary(user: &NameOrId) -> bool {
    !matches!(user.to_string().as_str(), "root" | "0")
}

fn privileges(sheet: &Sheet<'_>, drop: Drop) -> Vec<String> {
    let daemon = sheet.daemon;
    let kept = daemon.capabilities.join(" ");
    let mut lines = Vec::new();
    match drop {
        Drop::Nobody => {}
        Drop::Manager => {
            lines.extend(daemon.user.as_ref().map(|user| format!("User={user}")));
            lines.extend(daemon.group.as_ref().map(|group| format!("Group={group}")));
            lines.push(format!("CapabilityBoundingSet={kept}"));
            if !kept.is_empty() {
                lines.push(format!("AmbientCapabilities={kept}"));
            }
        }
        // What a child may gain by a set-user-id program would be bounded, too.
        Drop::Service if daemon.no_new_privs == Some(false) => {}
        Drop::Service => {
            let user = daemon
                .user
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            lines.push(format!(
                "# Started as root, it becomes {} by itself.",
                systemd_value(&user)
            ));
            let bound = format!("CapabilityBoundingSet={}", needed_to_drop(sheet).join(" "));
            if sheet.facts.privileged_init {
                lines.push("# Add what it needs as root before that, and uncomment:".to_owned());
                lines.push(format!("#{bound}"));
            } else {
                lines.push(bound);
            }
        }
    }
    if drop != Drop::Nobody && daemon.no_new_privs != Some(false)
        || daemon.no_new_privs == Some(true)
    {
        lines.push("NoNewPrivileges=yes".to_owned());
    }
    lines
}

/// What becoming another user takes, with what is kept.
fn needed_to_drop<'a>(sheet: &'a Sheet<'_>) -> Vec<&'a str> {
    let mut needed = vec!["CAP_SETGID", "CAP_SETUID"];
    // A directory may be closed to all but the user who owns it.
    if sheet.directory != "/" || sheet.chroot.is_some() {
        needed.push("CAP_DAC_READ_SEARCH");
    }
    if sheet.chroot.is_some() {
        needed.push("CAP_SYS_CHROOT");
    }
    needed.extend(sheet.daemon.capabilities.iter().map(String::as_str));
    needed
}

fn sandbox(sheet: &Sheet<'_>, drop: Drop) -> Vec<String> {
    let used = used_paths(sheet);
    let any_in = |places: &[&str]| {
        used.iter()
            .any(|path| places.iter().any(|place| path.starts_with(place)))
    };
    let mut lines = vec![
        "# It writes here, and nowhere else: add what it needs to ReadWritePaths=.".to_owned(),
        "ProtectSystem=strict".to_owned(),
    ];
    lines.extend(writable(sheet, drop));
    let home = if any_in(&["/home", "/root", "/run/user"]) {
        "read-only"
    } else {
        "yes"
    };
    lines.push(format!("ProtectHome={home}"));
    if !any_in(&["/tmp", "/var/tmp"]) {
        lines.push("PrivateTmp=yes".to_owned());
    }
    // What stays root has every capability, and a reason for it that is not among the settings.
    let has = |capability: &&str| {
        drop == Drop::Nobody
            || sheet
                .daemon
                .capabilities
                .iter()
                .any(|kept| kept == capability)
    };
    let allowed = HARDENING
        .iter()
        .filter(|(_, capabilities)| !capabilities.iter().any(has));
    lines.extend(allowed.map(|(line, _)| (*line).to_owned()));
    if !BEYOND_SYSTEM_SERVICE.iter().any(has) {
        let chroot = if sheet.chroot.is_some() {
            " chroot"
        } else {
            ""
        };
        lines.push(format!("SystemCallFilter=@system-service{chroot}"));
    }
    lines
}

/// The paths that the sandbox must not hide.
fn used_paths<'a>(sheet: &'a Sheet<'_>) -> Vec<&'a Path> {
    let paths = [
        Some(&sheet.executable),
        Some(&sheet.directory),
        sheet.chroot.as_ref(),
        sheet.pidfile.as_ref(),
    ];
    paths.into_iter().flatten().map(Path::new).collect()
}

/// The directories that the service writes, as far as its settings tell: those of pidfile and data.
fn writable(sheet: &Sheet<'_>, drop: Drop) -> Vec<String> {
    let pidfile = sheet
        .pidfile
        .as_deref()
        .and_then(|path| Path::new(path).parent());
    let inside = sheet.directory.trim_start_matches('/');
    let data = Path::new(sheet.chroot.as_deref().unwrap_or("/")).join(inside);
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |path: &Path, may_create: bool| {
        let (setting, value) = managed(path)
            .filter(|_| may_create)
            .unwrap_or(("ReadWritePaths", path.to_str().unwrap_or_default()));
        let value = systemd_word(value);
        let list = values.entry(setting).or_default();
        if !list.contains(&value) {
            list.push(value);
        }
    };
    // Root's, as it has to be.
    if let Some(directory) = pidfile {
        add(directory, true);
    }
    if data != Path::new("/") {
        // systemd would create it for the user as whom it starts the service, and that may be root
        // for now.
        add(&data, drop != Drop::Service);
    }
    let preserve = values.contains_key("RuntimeDirectory") && pidfile.is_some();
    let mut lines: Vec<_> = values
        .iter()
        .map(|(setting, values)| format!("{setting}={}", values.join(" ")))
        .collect();
    if preserve {
        // A start that finds another instance running must not take that one's pidfile away.
        lines.push("RuntimeDirectoryPreserve=yes".to_owned());
    }
    lines
}

/// The setting by which systemd creates such a directory, and the name that it has there.
fn managed(path: &Path) -> Option<(&'static str, &str)> {
    const PLACES: [(&str, &str); 4] = [
        ("/run", "RuntimeDirectory"),
        ("/var/lib", "StateDirectory"),
        ("/var/cache", "CacheDirectory"),
        ("/var/log", "LogsDirectory"),
    ];
    let named = |(place, setting)| Some((setting, path.strip_prefix(place).ok()?.to_str()?));
    // A colon would begin the name of a symbolic link.
    PLACES
        .into_iter()
        .find_map(named)
        .filter(|(_, name)| !name.is_empty() && !name.contains([':', ' ']))
}

fn time(limit: Duration) -> String {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    match limit {
        limit if limit > YEAR => "infinity".to_owned(),
        limit if limit.subsec_millis() == 0 => format!("{}s", limit.as_secs()),
        limit => format!("{}ms", limit.as_millis()),
    }
}
