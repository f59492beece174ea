//! The answer of the command `status`: as text, as JSON, and as an exit status.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::listening;
use super::logs::Source;
use crate::control::keeper::{self, Keeper};
use crate::control::{Control, Description, Left, Status, left_processes};
use crate::daemon::Daemon;
use crate::report::text;
use crate::sys;
use crate::sys::proc::Usage;

/// What LSB has for a service of which the state cannot be told.
pub(super) const UNKNOWN: u8 = 4;

pub(super) struct Answer<'a> {
    name: &'a str,
    status: Status,
    keeper: Option<Keeper>,
    description: Description,
    usage: Usage,
    old: Vec<u32>,
    left: Option<Vec<Left>>,
    listening: Option<Vec<String>>,
    log: Option<Source>,
}

impl<'a> Answer<'a> {
    pub(super) fn find(daemon: &Daemon, name: &'a str, control: &Control, pidfile: &Path) -> Self {
        // An untrusted pidfile tells nothing, and LSB has a status for that.
        let status = match control.status() {
            Ok(status) => status,
            Err(error) => Status::Unknown(error.to_string()),
        };
        let mut answer = Self {
            old: control.old_instances().unwrap_or_default(),
            ..Self::of(name, status)
        };
        let process = match answer.status {
            Status::Running { pid, .. } | Status::Starting { pid: Some(pid) } => {
                Some(sys::pid_of(pid))
            }
            _ => None,
        };
        // The status is worth printing even if the rest is not to be had.
        if let Status::Running { pid, .. } = answer.status {
            let pid = sys::pid_of(pid);
            answer.keeper = keeper::find_keeper(pid, pidfile).unwrap_or_default();
            answer.description = control.description();
            answer.usage = Usage::of(pid);
            answer.left = left_processes(pidfile, pid, answer.keeper.as_ref());
            answer.listening = listening::addresses(pid);
        }
        answer.log = Source::find(daemon, process, answer.keeper.as_ref()).ok();
        answer
    }

    /// The answer where even the pidfile is not known, for this reason.
    pub(super) fn unknown(daemon: &Daemon, name: &'a str, why: String) -> Self {
        Self {
            log: Source::find(daemon, None, None).ok(),
            ..Self::of(name, Status::Unknown(why))
        }
    }

    fn of(name: &'a str, status: Status) -> Self {
        Self {
            name,
            status,
            keeper: None,
            description: Description::default(),
            usage: Usage::default(),
            old: Vec::new(),
            left: None,
            listening: None,
            log: None,
        }
    }

    pub(super) fn text(&self) -> String {
        let name = self.name;
        let mut text = match &self.status {
            Status::Running { pid, since } => self.running(*pid, *since),
            Status::RunningElsewhere { pid } => {
                format!("{name} is running in another pid namespace, as pid {pid} there")
            }
            Status::Starting { pid: Some(pid) } => format!("{name} is starting: pid {pid}"),
            Status::Starting { pid: None } => format!("{name} is starting"),
            Status::Dead { pid: Some(pid) } => {
                format!("{name} is dead: its pidfile still names pid {pid}")
            }
            Status::Dead { pid: None } => {
                format!("{name} is dead: its pidfile is still there, but names no process")
            }
            Status::NotRunning => format!("{name} is not running"),
            Status::Unknown(why) => format!("it is unknown whether {name} is running: {why}"),
        };
        for pid in &self.old {
            _ = write!(text, "\nan older instance is still ending: pid {pid}");
        }
        for Left { pid, command } in self.left.iter().flatten() {
            _ = write!(text, "\nleft by an older instance: pid {pid} ({command})");
        }
        if let Some(log) = &self.log {
            _ = write!(text, "\nlog: {log}");
            for line in log.last_lines().unwrap_or_default() {
                _ = write!(text, "\n  {line}");
            }
        }
        text::printable(&text).into_owned()
    }

    fn running(&self, pid: u32, since: Option<SystemTime>) -> String {
        let mut text = format!("{} is running: pid {pid}", self.name);
        if let Some(seconds) = seconds_since_1970(since) {
            let since = UNIX_EPOCH + Duration::from_secs(seconds);
            let date = humantime::format_rfc3339_seconds(since);
            _ = write!(text, ", since {date}");
        }
        if let Some(seconds) = seconds_until_now(since) {
            let age = humantime::format_duration(Duration::from_secs(seconds));
            _ = write!(text, ", for {age}");
        }
        if let Some(keeper) = &self.keeper {
            _ = write!(text, ", run by {} ({})", keeper.manager, keeper.service);
        }
        let details = self.details();
        if !details.is_empty() {
            _ = write!(text, "\n{}", details.join(", "));
        }
        if let Some(status) = &self.description.status {
            _ = write!(text, "\nstatus: {status}");
        }
        match &self.listening {
            Some(addresses) if !addresses.is_empty() => {
                _ = write!(text, "\nlistening: {}", addresses.join(", "));
            }
            _ => {}
        }
        text
    }

    fn details(&self) -> Vec<String> {
        let mut details = Vec::new();
        if let Some(version) = &self.description.version {
            details.push(format!("version {version}"));
        }
        if let Some(memory) = self.usage.memory {
            const MIB: u64 = 1 << 20;
            let tenths = memory.saturating_mul(10) / MIB;
            details.push(format!("memory {}.{} MiB", tenths / 10, tenths % 10));
        }
        if let Some(time) = self.usage.processor_time {
            details.push(format!("processor time {:.2}s", time.as_secs_f64()));
        }
        if let Some(descriptors) = self.usage.descriptors {
            details.push(format!("descriptors {descriptors}"));
        }
        if let Some(threads) = self.usage.threads {
            details.push(format!("threads {threads}"));
        }
        details
    }

    pub(super) fn json(&self) -> String {
        let members = self.members();
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// All members, whatever the state is.
    fn members(&self) -> [(&'static str, String); 20] {
        let (pid, since) = match self.status {
            Status::Running { pid, since } => (Some(pid), since),
            Status::Starting { pid } | Status::Dead { pid } => (pid, None),
            _ => (None, None),
        };
        // No signal must be sent to this number here.
        let pid_there = match self.status {
            Status::RunningElsewhere { pid } => Some(pid),
            _ => None,
        };
        let reason = match &self.status {
            Status::Unknown(why) => Some(why.as_str()),
            _ => None,
        };
        let (manager, service) = match &self.keeper {
            Some(keeper) => (Some(keeper.manager), Some(keeper.service.as_str())),
            None => (None, None),
        };
        let (log, lines) = match &self.log {
            Some(log) => (Some(log.to_string()), log.last_lines()),
            None => (None, None),
        };
        [
            ("name", json_string(self.name)),
            ("state", json_string(self.state())),
            ("pid", number(pid)),
            ("pid_there", number(pid_there)),
            ("since", number(seconds_since_1970(since))),
            ("duration", number(seconds_until_now(since))),
            ("manager", string(manager)),
            ("service", string(service)),
            ("version", string(self.description.version.as_deref())),
            ("status", string(self.description.status.as_deref())),
            ("memory", number(self.usage.memory)),
            ("processor_time", seconds(self.usage.processor_time)),
            ("descriptors", number(self.usage.descriptors)),
            ("threads", number(self.usage.threads)),
            ("old", format!("{:?}", self.old)),
            ("left", left(self.left.as_deref())),
            ("listening", strings(self.listening.as_deref())),
            ("log", string(log.as_deref())),
            ("lines", strings(lines.as_deref())),
            ("reason", string(reason)),
        ]
    }

    fn state(&self) -> &'static str {
        match self.status {
            Status::Running { .. } => "running",
            Status::RunningElsewhere { .. } => "running elsewhere",
            Status::Starting { .. } => "starting",
            Status::Dead { .. } => "dead",
            Status::NotRunning => "not running",
            Status::Unknown(_) => "unknown",
        }
    }

    /// The exit status that LSB gives `status`.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.status {
            Status::Running { .. } | Status::RunningElsewhere { .. } => 0,
            Status::Dead { .. } => 1,
            Status::NotRunning => 3,
            // A service that is starting does not answer its clients yet, and is not stopped
            // either: LSB has no status for that.
            Status::Starting { .. } | Status::Unknown(_) => UNKNOWN,
        })
    }
}

/// `None` if the clock is so far off that the time has no date.
fn seconds_since_1970(time: Option<SystemTime>) -> Option<u64> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = time?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    if seconds < YEAR_10000 {
        Some(seconds)
    } else {
        None
    }
}

fn seconds_until_now(since: Option<SystemTime>) -> Option<u64> {
    let age = SystemTime::now().duration_since(since?).ok()?;
    Some(age.as_secs())
}

const NULL: &str = "null";

fn number(value: Option<impl ToString>) -> String {
    match value {
        Some(value) => value.to_string(),
        None => NULL.to_owned(),
    }
}

fn seconds(time: Option<Duration>) -> String {
    match time {
        Some(time) => format!("{:.2}", time.as_secs_f64()),
        None => NULL.to_owned(),
    }
}

fn string(value: Option<&str>) -> String {
    match value {
        Some(value) => json_string(value),
        None => NULL.to_owned(),
    }
}

fn strings(values: Option<&[String]>) -> String {
    let Some(values) = values else {
        return NULL.to_owned();
    };
    let values: Vec<String> = values.iter().map(|value| json_string(value)).collect();
    format!("[{}]", values.join(","))
}

fn left(processes: Option<&[Left]>) -> String {
    let Some(processes) = processes else {
        return NULL.to_owned();
    };
    let mut objects = Vec::new();
    for Left { pid, command } in processes {
        let command = json_string(command);
        objects.push(format!("{{\"pid\":{pid},\"command\":{command}}}"));
    }
    format!("[{}]", objects.join(","))
}

fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if text::is_unprintable(c) => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
