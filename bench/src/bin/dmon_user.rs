//! The crate dmon with a pidfile and a user.

fn main() {
    let mut parent = dmon::options()
        .user(Some("nobody".parse().unwrap()))
        .pidfile(Some("/run/daemon-bench/dmon_user.pid"))
        .daemonize();
    parent.success().unwrap();
    daemon_bench::sleep()
}
