//! What a system wants beside the service file: sysusers.d(5), tmpfiles.d(5), logrotate(8).

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines, refuse};
use super::prepare::{self, Owner};
use super::quote::{logrotate_word, shell_line, systemd_word};
use crate::daemon::NameOrId;
use crate::error::Error;

pub(super) fn sysusers(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    let Some(user) = input.own_user() else {
        let problem = "the service has no user of its own";
        return Err(refuse("user", problem));
    };
    if let Some(NameOrId::Id(_)) = &input.daemon.user {
        return Err(refuse("user", "a new user needs a name, not a number"));
    }
    let mut entries = Vec::new();
    let mut id = "-".to_owned();
    if let Some(group) = &input.daemon.group {
        id = format!("-:{group}");
    }
    let groups = input.daemon.groups.as_deref().unwrap_or_default();
    for group in input.daemon.group.iter().chain(groups) {
        if let NameOrId::Name(name) = group {
            entries.push(format!("g {name} -"));
        }
    }
    // The field ends at a colon.
    let description = if input.description.contains(':') {
        &input.name
    } else {
        &input.description
    };
    let home = input.data();
    let words = [description.as_str(), home.to_str().unwrap_or_default()].map(systemd_word);
    entries.push(format!("u {user} {id} {}", words.join(" ")));
    Ok(conf("/etc/sysusers.d", input, entries))
}

pub(super) fn tmpfiles(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    let mut entries = Vec::new();
    for (path, owner) in prepare::directories(input) {
        let path = systemd_word(path.to_str().unwrap_or_default());
        let (user, group) = match owner {
            Owner::Root => ("root".to_owned(), "root".to_owned()),
            Owner::Service => owner_of_files(input),
        };
        entries.push(format!("d {path} 0755 {user} {group} -"));
    }
    if entries.is_empty() {
        let problem = "there is none to make: the service uses what is on every system";
        return Err(refuse("directories", problem));
    }
    Ok(conf("/etc/tmpfiles.d", input, entries))
}

fn owner_of_files(input: &UnitInput<'_>) -> (String, String) {
    let Some(user) = &input.daemon.user else {
        return ("-".to_owned(), "-".to_owned());
    };
    let group = match (&input.daemon.group, input.own_user()) {
        (Some(group), _) => group.to_string(),
        // Its own has its name.
        (None, Some(user)) => user.to_owned(),
        (None, None) => "-".to_owned(),
    };
    (user.to_string(), group)
}

fn conf(directory: &'static str, input: &UnitInput<'_>, entries: Vec<String>) -> ServiceFiles {
    let file = ServiceFile::text(format!("{}.conf", input.name), lines(entries));
    ServiceFiles::new(directory, vec![file])
}

/// A service that reloads opens its logs again then. Any other goes on with the old file.
pub(super) fn logrotate(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    let mut logs = Vec::new();
    for log in [&input.stdout, &input.stderr].into_iter().flatten() {
        let log = logrotate_word(log);
        if !logs.contains(&log) {
            logs.push(log);
        }
    }
    if logs.is_empty() {
        return Err(refuse("stdout and stderr", "neither goes to a file"));
    }
    let mut stanza = vec![
        format!("{} {{", logs.join(" ")),
        match input.daemon.log_size {
            Some(bytes) => format!("    size {bytes}"),
            None => "    weekly".to_owned(),
        },
        format!("    rotate {}", input.daemon.logs_kept()),
        "    missingok".to_owned(),
        "    notifempty".to_owned(),
        "    compress".to_owned(),
        "    delaycompress".to_owned(),
    ];
    let is_reopened = input.daemon.reloads && input.pidfile.is_some() && input.chroot.is_none();
    if is_reopened {
        stanza.extend(reopen(input));
    } else {
        stanza.push("    # The service does not open it again.".to_owned());
        stanza.push("    copytruncate".to_owned());
    }
    stanza.push("}".to_owned());
    let file = ServiceFile::text(&input.name, lines(stanza));
    Ok(ServiceFiles::new("/etc/logrotate.d", vec![file]))
}

fn reopen(input: &UnitInput<'_>) -> Vec<String> {
    let [status, reload] = [["status"].as_slice(), &["reload", "--quiet"]].map(|words| {
        let mut line = input.call();
        line.extend(words);
        shell_line(&line)
    });
    let mut owner = String::new();
    if let Some(user) = &input.daemon.user {
        owner = format!(" {user}");
    }
    vec![
        // The service's user opens it.
        format!("    create 0640{owner}"),
        "    sharedscripts".to_owned(),
        "    postrotate".to_owned(),
        format!("        if {status} >/dev/null 2>&1; then {reload}; fi"),
        "    endscript".to_owned(),
    ]
}
