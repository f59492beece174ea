#!/bin/sh

# PROVIDE: greeter
# REQUIRE: NETWORKING syslogd
# KEYWORD: shutdown

# sysrc greeter_enable=YES has it started at boot.

. /etc/rc.subr

name=greeter
desc='Greets over TCP'
rcvar=greeter_enable
load_rc_config $name
: "${greeter_enable:=NO}"

pidfile=/run/greeter/greeter.pid
command=/usr/bin/greeter
command_args='--config '\''/etc/my greeter.toml'\'''
extra_commands=reload
start_precmd=greeter_prepare

greeter_prepare()
{
	mkdir -p /run/greeter
	test -d /var/lib/greeter || { mkdir -p /var/lib/greeter && chown nobody: /var/lib/greeter; }
}

run_rc_command "$1"
