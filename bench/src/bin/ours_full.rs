//! This library with every setting, but those that would only replace another one's work (`group`
//! and `groups` the look-up of the user's groups, `chroot` the working directory).

#[daemon_rt::daemon(
    name = "bench",
    pidfile = "/run/daemon-bench/ours_full.pid",
    user = "nobody",
    working_directory = "/run",
    umask = 0o022,
    keep_env = ["EDITOR", "XDG_*"],
    stdout = "/run/daemon-bench/ours_full.log",
    stderr = "/run/daemon-bench/ours_full.log",
    capabilities = ["CAP_NET_BIND_SERVICE"],
    no_new_privs,
    start_timeout = "30s"
)]
fn main() {
    daemon_bench::sleep();
}
