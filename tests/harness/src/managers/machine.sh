#!/bin/sh
# Turns this process into PID 1 of a machine of its own.
#
#     machine.sh CGROUP SCRATCH INIT [ARGUMENT...]          (in pid, mount, ipc, uts and net namespaces of its own)
#
# The machine's root is an overlay of the one that SCRATCH/below names: what it writes is gone with it. It has its own
# /dev, /run, /tmp, /var/tmp, proc and control groups; sysfs and /proc/sys are read-only, so that an init cannot tune the
# kernel of the machine that it runs on. SCRATCH/files is laid over the root, after the directories that SCRATCH/empty
# names were emptied; SCRATCH/shared is the one directory that both sides see, under the same path. SCRATCH/init receives
# the process id of INIT, as the outside knows it, when INIT is about to run.
set -eu

if [ "$1" != inside ]; then
    echo 0 >"$1/cgroup.procs" # 0: this process
    shift
    exec unshare --cgroup sh "$1/machine.sh" inside "$@"
fi
here=$2
shift 2

exec 9>"$here/init"
read -r pid _ </proc/self/stat # this is still the outside's /proc

read -r below <"$here/below"
layers=$here/layers
root=$here/root
mkdir "$layers" "$root"
mount -t tmpfs -o mode=755 tmpfs "$layers"
mkdir "$layers/upper" "$layers/work"
mount -t overlay -o "lowerdir=$below,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"

for directory in proc sys dev run tmp var/tmp; do
    mkdir -p "$root/$directory"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -o bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -m 1777 "$root/run/lock"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/var/tmp"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
while read -r name major minor; do
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done <<'END'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

while read -r directory; do
    rm -rf "${root:?}$directory"
    mkdir -p "$root$directory"
done <"$here/empty"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
cp -a "$here/files/." "$root/"
mkdir -p "$root$here/shared"
mount -o bind "$here/shared" "$root$here/shared"

ip link set lo up
cd "$root"
mkdir -p .outside
pivot_root . .outside
umount -l .outside
rmdir .outside
cd /

echo "$pid" >&9
exec 9>&-
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
