//! System V init: an LSB init script. The service detaches by itself, and its own commands do the
//! work.

use super::file::{ServiceFile, ServiceFiles};
use super::input::{UnitInput, lines, refuse};
use super::prepare;
use super::quote::{shell, shell_line};
use super::run;
use crate::error::Error;
use crate::status::ALREADY_RUNNING;

pub(super) fn script(input: &UnitInput<'_>) -> Result<ServiceFiles, Error> {
    if input.pidfile.is_none() {
        let problem = "an init script finds the service by its pidfile: set one";
        return Err(refuse("pidfile", problem));
    }
    let script = header(input) + &without_binary(input) + &commands(input);
    let file = ServiceFile::script(&input.name, script);
    Ok(ServiceFiles::new("/etc/init.d", vec![file]))
}

fn header(input: &UnitInput<'_>) -> String {
    let (name, description) = (&input.name, &input.description);
    format!(
        "#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $remote_fs $syslog
# Required-Stop:     $remote_fs $syslog
# Should-Start:      $network $named
# Should-Stop:       $network $named
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: {description}
### END INIT INFO
{}",
        lines(input.comments("# "))
    )
}

fn without_binary(input: &UnitInput<'_>) -> String {
    let executable = shell(&input.executable);
    format!(
        "
if ! test -x {executable}; then
    # The package is removed, but not purged: a shutdown must not fail for that.
    case $1 in
    stop) exit 0 ;;
    status) exit 4 ;;
    *) exit 5 ;;
    esac
fi
"
    )
}

/// A restart starts what does not run, too: also after a boot, which empties /run.
fn prepare(input: &UnitInput<'_>) -> String {
    let commands = prepare::in_shell(input);
    if commands.is_empty() {
        return String::new();
    }
    let commands = lines(commands.iter().map(|command| format!("    {command}")));
    format!("case $1 in\nstart | *restart | force-reload)\n{commands}    ;;\nesac\n\n")
}

fn commands(input: &UnitInput<'_>) -> String {
    let call = shell_line(&input.call());
    let prepare = prepare(input);
    let environment = run::read_environment(input);
    let patience = match input.kill_after() {
        Some(seconds) => format!(" --timeout {seconds}s"),
        None => String::new(),
    };
    // LSB: without a way to reload, force-reload restarts.
    let (force_reload, own, usage) = if input.daemon.reloads {
        (
            "reload".to_owned(),
            "reload | status",
            "reload|force-reload",
        )
    } else {
        (format!("restart{patience}"), "status", "force-reload")
    };
    format!(
        r#"
{environment}

control() {{
    {call} "$@"
}}

{prepare}case $1 in
start)
    # Returns when the service is ready, or has failed.
    DAEMON_MODE=detach control start
    status=$?
    # LSB: a start of what runs already succeeds.
    test "$status" -ne {ALREADY_RUNNING} || status=0
    exit "$status"
    ;;
stop | restart)
    control "$1"{patience}
    ;;
{own})
    control "$1"
    ;;
force-reload)
    control {force_reload}
    ;;
try-restart)
    control status >/dev/null || exit 0
    control restart{patience}
    ;;
*)
    echo "Usage: $0 {{start|stop|restart|try-restart|{usage}|status}}" >&2
    exit 2
    ;;
esac
"#
    )
}
