"""service.py PACKAGES DIRECTORY: python-daemon, as its documentation says: a DaemonContext with a pidfile and a user."""

import grp
import pwd
import signal
import sys

sys.path.insert(0, sys.argv[1])

import daemon  # noqa: E402
from daemon.pidfile import TimeoutPIDLockFile  # noqa: E402

context = daemon.DaemonContext(
    working_directory="/",
    umask=0o002,
    pidfile=TimeoutPIDLockFile(sys.argv[2] + "/pid", 0),
    uid=pwd.getpwnam("nobody").pw_uid,
    gid=grp.getgrnam("nogroup").gr_gid,
)

with context:
    while True:
        signal.pause()
