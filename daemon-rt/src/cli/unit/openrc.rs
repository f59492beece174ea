//! OpenRC: a script for openrc-run, whose supervise-daemon keeps the service running.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines};
use super::prepare;
use super::quote::{shell, shell_line};
use super::resources;

/// Not `notify=socket:ready`: with that OpenRC 0.64 waits for ever where the start fails, and leaves a
/// socket which prevents the next start.
const READINESS: &str = r#"	# OpenRC 0.60 and later: started when the service says that it is ready.
	case $(supervise-daemon "$RC_SVCNAME" --help 2>&1) in
	*--notify*)
		notify=fd:3
		supervise_daemon_args="$supervise_daemon_args --env DAEMON_NOTIFY_FD=3"
		;;
	esac"#;

pub(super) fn script(input: &UnitInput<'_>) -> ServiceFiles {
    let mut functions = vec!["depend() {\n\tuse logger net\n}\n".to_owned()];
    let mut before = vec![READINESS.to_owned()];
    for command in prepare::in_shell(input) {
        before.push(format!("\t{command}"));
    }
    // The supervisor, which this shell executes, and the service inherit them.
    for command in resources::of_shell(input) {
        before.push(format!("\t{command}"));
    }
    functions.push(format!("start_pre() {{\n{}}}\n", lines(before)));
    if input.daemon.reloads {
        functions.push(reload(input));
    }
    let script = format!(
        "#!/sbin/openrc-run\n\n{}{}\n{}",
        lines(input.comments("# ")),
        lines(settings(input)),
        functions.join("\n")
    );
    ServiceFiles::new(
        "/etc/init.d",
        vec![ServiceFile::script(&input.name, script)],
    )
}

fn settings(input: &UnitInput<'_>) -> Vec<String> {
    let command = input.command("run");
    let directory = evaluated(&[input.directory_outside_chroot()]);
    let mut settings = vec![
        format!("name={}", input.name),
        format!("description={}", shell(&input.description)),
        String::new(),
        // Not `pidfile`: that is the supervisor's here, and the service has its own.
        "supervisor=supervise-daemon".to_owned(),
        format!("command={}", evaluated(&command[..1])),
        format!("command_args={}", evaluated(&command[1..])),
        format!("directory={directory}"),
    ];
    if let Some(mask) = input.umask() {
        settings.push(format!("umask={mask}"));
    }
    let options = resources::options_of_openrc(input);
    if !options.is_empty() {
        settings.push(format!("supervise_daemon_args='{}'", options.join(" ")));
    }
    if let Some(seconds) = input.kill_after() {
        settings.push(format!("retry=TERM/{seconds}/KILL/5"));
    }
    if let Some(path) = &input.stdout {
        settings.push(format!("output_log={}", evaluated(&[path])));
    }
    if let Some(path) = &input.stderr {
        settings.push(format!("error_log={}", evaluated(&[path])));
    }
    if input.daemon.reloads {
        settings.push("extra_started_commands=reload".to_owned());
    }
    settings
}

/// Words that openrc-run evaluates once more.
fn evaluated(words: &[&str]) -> String {
    shell(&shell_line(words))
}

fn reload(input: &UnitInput<'_>) -> String {
    let reload = match input.pidfile {
        Some(_) => shell_line(&input.command("reload")),
        None => format!(
            r#"{} && supervise-daemon "$RC_SVCNAME" --signal HUP"#,
            shell_line(&input.command("check"))
        ),
    };
    format!("reload() {{\n\tebegin \"Reloading $name\"\n\t{reload}\n\teend $?\n}}\n")
}
