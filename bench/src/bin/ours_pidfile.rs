//! This library with a pidfile; it ends when it is told to.

#[daemon_rt::daemon(pidfile = "/run/daemon-bench/ours_pidfile.pid", umask = 0o022)]
fn main() {
    daemon_rt::shutdown().wait();
}
