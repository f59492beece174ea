use daemon_rt::daemon;

#[daemon(keep_fds = ["3"])]
fn main() {}
