//! The crate dmon, as its documentation has it, without a setting.

fn main() {
    let mut parent = dmon::options().daemonize();
    parent.success().unwrap();
    daemon_bench::sleep()
}
