"""python-daemon, as its documentation has it. It does not tell its starter when it is ready."""

import signal

import daemon

with daemon.DaemonContext():
    signal.pause()
