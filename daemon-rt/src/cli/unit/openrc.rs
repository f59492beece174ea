//! OpenRC: a script for openrc-run, whose supervise-daemon keeps the service running.

use super::quote::{shell, shell_line};
use super::{Sheet, lines};

pub(super) fn script(sheet: &Sheet<'_>) -> String {
    let command = sheet.command("run");
    let mut settings = vec![
        format!("name={}", sheet.name),
        format!("description={}", shell(&sheet.description)),
        String::new(),
        // Not `pidfile`: that is the supervisor's here, and the service has its own.
        "supervisor=supervise-daemon".to_owned(),
        format!("command={}", evaluated(&command[..1])),
        format!("command_args={}", evaluated(&command[1..])),
        "# OpenRC 0.60 and later: started when it says that it is ready.".to_owned(),
        "notify=socket:ready".to_owned(),
        format!(
            "directory={}",
            evaluated(&[sheet.directory_outside_chroot()])
        ),
    ];
    settings.extend(sheet.umask().map(|mask| format!("umask={mask}")));
    settings.extend(
        sheet
            .stdout
            .as_deref()
            .map(|path| format!("output_log={}", evaluated(&[path]))),
    );
    settings.extend(
        sheet
            .stderr
            .as_deref()
            .map(|path| format!("error_log={}", evaluated(&[path]))),
    );
    if sheet.facts.reloads {
        settings.push("extra_started_commands=reload".to_owned());
    }
    let settings = lines(settings);
    let functions = [
        Some("depend() {\n\tuse logger net\n}\n".to_owned()),
        start_pre(sheet),
        reload(sheet),
    ];
    let functions: Vec<_> = functions.into_iter().flatten().collect();
    format!("#!/sbin/openrc-run\n\n{settings}\n{}", functions.join("\n"))
}

/// Words that openrc-run evaluates once more.
fn evaluated(words: &[&str]) -> String {
    shell(&shell_line(words))
}

fn start_pre(sheet: &Sheet<'_>) -> Option<String> {
    let directory = shell(sheet.runtime_directory()?);
    Some(format!(
        "start_pre() {{\n\tcheckpath --directory {directory}\n}}\n"
    ))
}

fn reload(sheet: &Sheet<'_>) -> Option<String> {
    let reload = match sheet.pidfile {
        Some(_) => shell_line(&sheet.command("reload")),
        None => r#"supervise-daemon "$RC_SVCNAME" --signal HUP"#.to_owned(),
    };
    let function =
        format!("reload() {{\n\tebegin \"Reloading $name\"\n\t{reload}\n\teend $?\n}}\n");
    sheet.facts.reloads.then_some(function)
}
