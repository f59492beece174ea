//! procd of OpenWrt: an init script, run by its /etc/rc.common.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines};
use super::quote::{shell, shell_line};
use super::resources;
use super::run;

pub(super) fn script(input: &UnitInput<'_>) -> ServiceFiles {
    let mut script = vec!["#!/bin/sh /etc/rc.common".to_owned(), String::new()];
    script.extend(input.comments("# "));
    script.push("USE_PROCD=1".to_owned());
    script.push("START=95".to_owned());
    script.push("STOP=10".to_owned());
    script.push(String::new());
    script.push("start_service() {".to_owned());
    script.push("\tprocd_open_instance".to_owned());
    script.extend(parameters(input));
    script.push("\tprocd_close_instance".to_owned());
    script.push("}".to_owned());
    if input.daemon.reloads {
        script.push(String::new());
        script.push("reload_service() {".to_owned());
        script.push(match input.pidfile {
            Some(_) => format!("\t{}", shell_line(&input.command("reload"))),
            None => format!(
                "\t{} && procd_send_signal {}",
                shell_line(&input.command("check")),
                input.name
            ),
        });
        script.push("}".to_owned());
    }
    let file = ServiceFile::script(&input.name, lines(script));
    ServiceFiles::new("/etc/init.d", vec![file])
}

fn parameters(input: &UnitInput<'_>) -> Vec<String> {
    let mut first = Vec::new();
    if let Some(value) = input.daemon.oom_score_adj {
        first.push(format!("echo {value} >/proc/self/oom_score_adj"));
    }
    let commands = run::commands(input, first, &resources::wrapper_of_procd(input)).join("; ");
    let mut parameters = vec![
        format!("command /bin/sh -c {}", shell(&commands)),
        "respawn".to_owned(),
    ];
    let limits = resources::of_procd(input);
    if !limits.is_empty() {
        parameters.push(format!("limits {}", limits.join(" ")));
    }
    if let Some(value) = input.daemon.nice {
        parameters.push(format!("nice {value}"));
    }
    if let Some(seconds) = input.kill_after() {
        parameters.push(format!("term_timeout {seconds}"));
    }
    for (stream, path) in [("stdout", &input.stdout), ("stderr", &input.stderr)] {
        if path.is_none() {
            parameters.push(format!("{stream} 1"));
        }
    }
    for parameter in &mut parameters {
        parameter.insert_str(0, "\tprocd_set_param ");
    }
    parameters
}
