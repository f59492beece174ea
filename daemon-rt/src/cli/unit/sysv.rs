//! System V init: an LSB init script. The service detaches by itself, and its own commands do the
//! work.

use super::quote::{shell, shell_line};
use super::{Sheet, refuse};
use crate::error::Error;

pub(super) fn script(sheet: &Sheet<'_>) -> Result<String, Error> {
    if sheet.pidfile.is_none() {
        return Err(refuse(
            "pidfile",
            "an init script finds the service by its pidfile: set one",
        ));
    }
    let (name, description) = (&sheet.name, &sheet.description);
    let (executable, call) = (shell(&sheet.executable), shell_line(&sheet.call()));
    // LSB: without a way to reload, force-reload restarts.
    let force_reload = if sheet.facts.reloads {
        "reload"
    } else {
        "restart"
    };
    let (commands, usage) = if sheet.facts.reloads {
        (
            "stop | restart | reload | status",
            "start|stop|restart|try-restart|reload|force-reload|status",
        )
    } else {
        (
            "stop | restart | status",
            "start|stop|restart|try-restart|force-reload|status",
        )
    };
    let runtime_directory = sheet.runtime_directory().map_or_else(String::new, |path| {
        format!("    mkdir -p {} || exit\n", shell(path))
    });
    Ok(format!(
        r#"#!/bin/sh
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

if ! test -x {executable}; then
    # Removed, but not purged: that is no reason for a failed shutdown.
    case $1 in
    stop) exit 0 ;;
    status) exit 4 ;;
    *) exit 5 ;;
    esac
fi

control() {{
    {call} "$@"
}}

case $1 in
start)
{runtime_directory}    # Returns when the service is ready, or has failed.
    DAEMON_MODE=detach control start
    status=$?
    # It runs already, as was wished.
    test "$status" -ne 80 || status=0
    exit "$status"
    ;;
{commands})
    control "$1"
    ;;
force-reload)
    control {force_reload}
    ;;
try-restart)
    control status >/dev/null || exit 0
    control restart
    ;;
*)
    echo "Usage: $0 {{{usage}}}" >&2
    exit 2
    ;;
esac
"#
    ))
}
