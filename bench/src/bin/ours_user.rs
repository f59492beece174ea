//! This library as most services of root's use it: a pidfile, and a user of their own.

#[daemon_rt::daemon(
    pidfile = "/run/daemon-bench/ours_user.pid",
    user = "nobody",
    umask = 0o022
)]
fn main() {
    daemon_bench::sleep();
}
