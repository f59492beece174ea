#!/bin/sh
# Runs one machine, outlives whoever asked for it by a moment, and leaves nothing behind.
#
#     shepherd.sh SCRATCH INIT [ARGUMENT...]        (in a mount namespace of its own)
#
# Standard input is the lifeline, the reading end of a pipe that the test holds: it ends when the test lets go of it or
# dies, even by SIGKILL. Everything in the machine is ended through the machine's own control group, so that no process
# id is ever guessed.
# SCRATCH/status receives the exit status of INIT, should it end by itself.
set -eu
here=$1

mkdir "$here/cgroup"
mount -t cgroup2 cgroup2 "$here/cgroup"
cgroup=$here/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/${here##*/}
mkdir "$cgroup"

# A service must inherit nothing from the test. A shell starts background jobs with SIGINT and SIGQUIT ignored: hence
# `env`. Whoever started the test may have left descriptors open; sh can close only those up to 9: hence bash.
# Should the shepherd itself be killed, `setpriv` and `--kill-child` take the machine along.
close_descriptors='for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
done
exec "$@"'
{
    status=0
    env --default-signal setpriv --pdeathsig KILL \
        unshare --pid --fork --kill-child --mount --ipc --uts --net \
        bash -c "$close_descriptors" bash sh "$here/machine.sh" "$cgroup" "$@" || status=$?
    echo "$status" >"$here/status.new"
    mv "$here/status.new" "$here/status"
} </dev/null &
machine=$!

cat >/dev/null # until the lifeline ends

while kill -0 "$machine" 2>/dev/null; do
    if [ -e "$cgroup/cgroup.kill" ]; then
        echo 1 >"$cgroup/cgroup.kill"
    else # before Linux 5.14
        find "$cgroup" -name cgroup.procs -exec cat {} + | xargs -r kill -KILL 2>/dev/null || :
    fi
    sleep 0.01
done
wait "$machine" || :
find "$cgroup" -depth -type d -exec rmdir {} +
umount "$here/cgroup"
rm -rf --one-file-system "$here"
