//! The answer of the command `status`: as text, as JSON, and as an exit status.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::control::keeper::{self, Keeper};
use crate::control::{Control, Status};
use crate::report::text;
use crate::sys;

pub(super) struct Answer<'a> {
    name: &'a str,
    status: Status,
    keeper: Option<Keeper>,
    old: Vec<u32>,
}

impl<'a> Answer<'a> {
    pub(super) fn find(name: &'a str, control: &Control, pidfile: &Path) -> Self {
        // An untrusted pidfile tells nothing, and LSB has a status for that.
        let status = match control.status() {
            Ok(status) => status,
            Err(error) => Status::Unknown(error.to_string()),
        };
        // The status is worth printing even if the rest is not to be had.
        let keeper = match status {
            Status::Running { pid, .. } => {
                keeper::find_keeper(sys::pid_of(pid), pidfile).unwrap_or_default()
            }
            _ => None,
        };
        let old = control.old_instances().unwrap_or_default();
        Self {
            name,
            status,
            keeper,
            old,
        }
    }

    /// The answer where even the pidfile is not known, for this reason.
    pub(super) fn unknown(name: &'a str, why: String) -> Self {
        Self {
            name,
            status: Status::Unknown(why),
            keeper: None,
            old: Vec::new(),
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
        text::printable(&text).into_owned()
    }

    fn running(&self, pid: u32, since: Option<SystemTime>) -> String {
        let mut text = format!("{} is running: pid {pid}", self.name);
        if let Some(seconds) = seconds_since_1970(since) {
            let since = UNIX_EPOCH + Duration::from_secs(seconds);
            let date = humantime::format_rfc3339_seconds(since);
            _ = write!(text, ", since {date}");
        }
        if let Some(keeper) = &self.keeper {
            _ = write!(text, ", run by {} ({})", keeper.manager, keeper.service);
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let members = self.members();
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn members(&self) -> Vec<(&'static str, String)> {
        let word = match self.status {
            Status::Running { .. } => "running",
            Status::RunningElsewhere { .. } => "running elsewhere",
            Status::Starting { .. } => "starting",
            Status::Dead { .. } => "dead",
            Status::NotRunning => "not running",
            Status::Unknown(_) => "unknown",
        };
        let mut members = vec![
            ("name", json_string(self.name)),
            ("status", json_string(word)),
        ];
        match &self.status {
            Status::Running { pid, since } => {
                members.push(("pid", pid.to_string()));
                if let Some(seconds) = seconds_since_1970(*since) {
                    members.push(("since", seconds.to_string()));
                }
            }
            // No signal must be sent to this number here.
            Status::RunningElsewhere { pid } => members.push(("pid_there", pid.to_string())),
            Status::Starting { pid } | Status::Dead { pid } => {
                members.extend(pid.map(|pid| ("pid", pid.to_string())));
            }
            Status::NotRunning => {}
            Status::Unknown(why) => members.push(("reason", json_string(why))),
        }
        if let Some(keeper) = &self.keeper {
            members.push(("manager", json_string(keeper.manager)));
            members.push(("service", json_string(&keeper.service)));
        }
        if !self.old.is_empty() {
            members.push(("old", format!("{:?}", self.old)));
        }
        members
    }

    /// The exit status that LSB gives `status`.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.status {
            Status::Running { .. } | Status::RunningElsewhere { .. } => 0,
            Status::Dead { .. } => 1,
            Status::NotRunning => 3,
            // A service that is starting does not answer its clients yet, and is not stopped
            // either: LSB has no status for that.
            Status::Starting { .. } | Status::Unknown(_) => 4,
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
