use daemon_rt::daemon;

#[daemon(keep_fds_from = [3])]
fn main() {}
