//! dinit: a service description for /etc/dinit.d.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines};
use super::quote::dinit_word;
use super::resources;
use super::run;

pub(super) fn description(input: &UnitInput<'_>) -> ServiceFiles {
    let commands = run::commands(input, Vec::new(), &resources::wrapper(input)).join("; ");
    let mut description = input.comments("# ");
    description.push("type = process".to_owned());
    description.push(format!("command = /bin/sh -c {}", dinit_word(&commands)));
    description.push("ready-notification = pipevar:DAEMON_NOTIFY_FD".to_owned());
    description.push("restart = on-failure".to_owned());
    if let Some(limit) = input.daemon.start_timeout {
        description.push(format!("start-timeout = {}", limit.as_secs_f64()));
    }
    if let Some(seconds) = input.kill_after() {
        description.push(format!("stop-timeout = {seconds}"));
    }
    if input.stderr.is_none() {
        description.push("# dinitctl catlog shows it.".to_owned());
        description.push("log-type = buffer".to_owned());
    }
    let file = ServiceFile::text(&input.name, lines(description));
    ServiceFiles::new("/etc/dinit.d", vec![file])
}
