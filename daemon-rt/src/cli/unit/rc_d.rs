//! FreeBSD: a script for rc.subr(8). There the service has no commands of its own: it detaches,
//! and is found by its pidfile.

use std::path::Path;

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines, refuse};
use super::prepare;
use super::quote::{shell, shell_line};
use crate::error::Error;

pub(super) fn script(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    let Some(pidfile) = &input.pidfile else {
        let problem = "an rc.d script finds the service by its pidfile: set one";
        return Err(refuse("pidfile", problem));
    };
    if shell(&input.executable) != input.executable {
        let object = format!("the path of the binary {}", input.executable);
        let problem = "rc.subr cannot execute a path that a shell would not read as one word";
        return Err(refuse(object, problem));
    }
    // It becomes the start of variables' names.
    let name = input.name.replace(['-', '.'], "_");
    let mut script = head(input, &name);
    script.push(format!("pidfile={}", shell(pidfile)));
    script.push(format!("command={}", input.executable));
    let arguments = shell_line(&input.call()[1..]);
    if !arguments.is_empty() {
        script.push(format!("command_args={}", shell(&arguments)));
    }
    if input.daemon.reloads {
        script.push("extra_commands=reload".to_owned());
    }
    let mut prepare = prepare::in_shell(input);
    if Path::new(pidfile).parent() == Some(Path::new("/run")) {
        // FreeBSD has no such directory.
        prepare.insert(0, "mkdir -p /run".to_owned());
    }
    if !prepare.is_empty() {
        script.push(format!("start_precmd={name}_prepare"));
        script.push(String::new());
        script.push(format!("{name}_prepare()\n{{"));
        for line in prepare {
            script.push(format!("\t{line}"));
        }
        script.push("}".to_owned());
    }
    script.push(String::new());
    script.push("run_rc_command \"$1\"".to_owned());
    let file = ServiceFile::script(&input.name, lines(script));
    Ok(ServiceFiles::new("/usr/local/etc/rc.d", vec![file]))
}

fn head(input: &UnitInput<'_>, name: &str) -> Vec<String> {
    let mut head = vec![
        "#!/bin/sh".to_owned(),
        String::new(),
        format!("# PROVIDE: {name}"),
        "# REQUIRE: NETWORKING syslogd".to_owned(),
        "# KEYWORD: shutdown".to_owned(),
        String::new(),
    ];
    head.extend(input.comments("# "));
    head.extend([
        format!("# sysrc {name}_enable=YES has it started at boot."),
        String::new(),
        ". /etc/rc.subr".to_owned(),
        String::new(),
        format!("name={name}"),
        format!("desc={}", shell(&input.description)),
        format!("rcvar={name}_enable"),
        "load_rc_config $name".to_owned(),
        format!(": \"${{{name}_enable:=NO}}\""),
        String::new(),
    ]);
    head
}
