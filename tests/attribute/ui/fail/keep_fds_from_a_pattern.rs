use daemon_rt::daemon;

#[daemon(keep_fds_from = ["TUN_*"])]
fn main() {}
